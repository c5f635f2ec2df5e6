//! Convolution and nearest-neighbour upsampling on [batch, channels, height, width].

use candle_core::{Device, Tensor};

use crate::Result;

/// Convolution with a square `stride` and symmetric zero `padding`. `bias` is [out], or [batch, out] where
/// something else that is constant over the picture (the time embedding) is added along.
pub(crate) fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    stride: usize,
    padding: usize,
) -> Result<Tensor> {
    let y = x.conv2d(weight, padding, stride, 1, 1)?;
    Ok(match bias {
        None => y,
        Some(bias) => {
            let batch = if bias.rank() == 2 { bias.dim(0)? } else { 1 };
            y.broadcast_add(&bias.reshape((batch, y.dim(1)?, 1, 1))?)?
        }
    })
}

/// Nearest-neighbour interpolation to `height` × `width`, with torch's choice of source pixels.
pub(crate) fn upsample_nearest(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    if height % h == 0 && width % w == 0 {
        return Ok(x.upsample_nearest2d(height, width)?);
    }
    // candle's own has a gradient for whole factors only; picking rows and columns has one for any.
    let rows = source_indices(h, height, x.device())?;
    let columns = source_indices(w, width, x.device())?;
    Ok(x.index_select(&rows, 2)?.index_select(&columns, 3)?)
}

/// torch's rule: floor(i · in/out) in f32.
fn source_indices(from: usize, to: usize, device: &Device) -> Result<Tensor> {
    let scale = from as f32 / to as f32;
    let indices: Vec<u32> =
        (0..to).map(|i| ((i as f32 * scale).floor() as usize).min(from - 1) as u32).collect();
    Ok(Tensor::new(indices, device)?)
}
