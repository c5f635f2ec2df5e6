//! Large images in overlapping tiles, so that memory does not grow with their size.
//!
//! The same tiles and the same linear blend as diffusers' `enable_tiling`. Every tile is normalised by itself, so
//! the result differs a little from that of one piece; it is used only above a size.

use candle_core::{DType, Tensor};

use crate::Result;

/// Part of a tile that it shares with the next one.
const OVERLAP: f64 = 0.25;

/// How an image is cut and put together again along each side.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Side of a tile of the input.
    side: usize,
    /// From one tile's beginning to the next one's, in the input.
    advance: usize,
    /// What is blended at the left and top, in the output.
    blend: usize,
    /// What is kept of a tile, in the output.
    kept: usize,
}

/// Sends `x` [batch, channels, height, width] through `work` in tiles of `side`; `work` gives for each tile
/// one whose sides are `output_side / side` times as long.
pub(super) fn in_tiles(
    x: &Tensor,
    side: usize,
    output_side: usize,
    work: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    let blend = (output_side as f64 * OVERLAP) as usize;
    let advance = ((side as f64 * (1.0 - OVERLAP)) as usize).max(1);
    let plan = Plan { side, advance, blend, kept: output_side - blend };
    let mut above: Vec<Tensor> = Vec::new();
    let mut rows = Vec::new();
    for y in (0..height).step_by(plan.advance) {
        let band = x.narrow(2, y, plan.side.min(height - y))?;
        let mut row: Vec<Tensor> = Vec::new();
        for (i, x) in (0..width).step_by(plan.advance).enumerate() {
            let mut tile = work(&band.narrow(3, x, plan.side.min(width - x))?.contiguous()?)?;
            if let Some(above) = above.get(i) {
                tile = blended(above, &tile, plan.blend, 2)?;
            }
            if let Some(left) = row.last() {
                tile = blended(left, &tile, plan.blend, 3)?;
            }
            row.push(tile);
        }
        let kept: Vec<_> = row
            .iter()
            .map(|tile| {
                let (_, _, height, width) = tile.dims4()?;
                tile.narrow(2, 0, plan.kept.min(height))?.narrow(3, 0, plan.kept.min(width))
            })
            .collect::<candle_core::Result<_>>()?;
        rows.push(Tensor::cat(&kept, 3)?);
        above = row;
    }
    Ok(Tensor::cat(&rows, 2)?)
}

/// `tile` whose beginning along `dim` fades in over the end of `before`.
fn blended(before: &Tensor, tile: &Tensor, extent: usize, dim: usize) -> Result<Tensor> {
    let (from, to) = (before.dim(dim)?, tile.dim(dim)?);
    let extent = extent.min(from).min(to);
    if extent == 0 {
        return Ok(tile.clone());
    }
    let mut shape = [1; 4];
    shape[dim] = extent;
    let fade: Vec<f32> = (0..extent).map(|i| i as f32 / extent as f32).collect();
    let fade = Tensor::from_vec(fade, &shape, tile.device())?.to_dtype(DType::F32)?;
    let end = before.narrow(dim, from - extent, extent)?.to_dtype(DType::F32)?;
    let beginning = tile.narrow(dim, 0, extent)?.to_dtype(DType::F32)?;
    let mixed = (&end + (beginning - &end)?.broadcast_mul(&fade)?)?.to_dtype(tile.dtype())?;
    Ok(Tensor::cat(&[mixed, tile.narrow(dim, extent, to - extent)?], dim)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Work that depends on nothing but the pixel itself must come out whole, whatever the sizes.
    #[test]
    fn tiles_cover_everything_once() {
        for (height, width, side) in [(1, 1, 4), (4, 4, 4), (5, 9, 4), (13, 7, 8), (3, 40, 8)] {
            let count = height * width;
            let x = Tensor::arange(0f32, count as f32, &Device::Cpu)
                .unwrap()
                .reshape((1, 1, height, width))
                .unwrap();
            let doubled = in_tiles(&x, side, 2 * side, &mut |tile| {
                let (_, _, height, width) = tile.dims4()?;
                Ok(tile.upsample_nearest2d(2 * height, 2 * width)?)
            })
            .unwrap();
            let expected = x.upsample_nearest2d(2 * height, 2 * width).unwrap();
            assert_eq!(doubled.dims(), expected.dims());
            let error = (doubled - expected).unwrap().abs().unwrap().max_all().unwrap();
            assert!(error.to_scalar::<f32>().unwrap() < 1e-3, "{height} × {width} in {side}");
        }
    }
}
