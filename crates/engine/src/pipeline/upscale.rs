//! Upscaling of latents and images for the hires pass.

use candle_core::Tensor;
use image::{ImageBuffer, Rgb, imageops};

use crate::{EngineError, Result, Rgb8};

/// Resizes `latents` [batch, channels, height, width], f32, to `height` × `width` bilinearly, as torch's
/// `interpolate(mode="bilinear")` (pixel centres, no antialiasing).
pub(super) fn bilinear(latents: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let (batch, channels, from_height, from_width) = latents.dims4()?;
    let (rows, columns) = (points(from_height, height), points(from_width, width));
    let numbers = latents.flatten_all()?.to_vec1::<f32>()?;
    let mut stretched = Vec::with_capacity(batch * channels * height * width);
    for plane in numbers.chunks_exact((from_height * from_width).max(1)) {
        for (top, bottom, down) in &rows {
            let (top, bottom) = (&plane[top * from_width..], &plane[bottom * from_width..]);
            stretched.extend(columns.iter().map(|(left, right, across)| {
                let mixed = |row: &[f32]| row[*left] * (1.0 - across) + row[*right] * across;
                mixed(top) * (1.0 - down) + mixed(bottom) * down
            }));
        }
    }
    Ok(Tensor::from_vec(stretched, (batch, channels, height, width), latents.device())?)
}

/// For each of `to` points along a side of `from`: its two neighbours, and the weight of the second.
fn points(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    let scale = from as f32 / to as f32;
    let point = |i: usize| {
        let at = (scale * (i as f32 + 0.5) - 0.5).max(0.0);
        let first = (at as usize).min(from.saturating_sub(1));
        (first, (first + 1).min(from.saturating_sub(1)), at - first as f32)
    };
    (0..to).map(point).collect()
}

/// Resizes `image` with a three-lobed Lanczos filter.
pub(super) fn lanczos(image: Rgb8, width: u32, height: u32) -> Result<Rgb8> {
    let (from_width, from_height) = (image.width, image.height);
    let buffer: ImageBuffer<Rgb<u8>, _> = ImageBuffer::from_raw(from_width, from_height, image.data)
        .ok_or_else(|| {
            EngineError::Request(format!("{from_width} × {from_height} pixels with too few bytes"))
        })?;
    let data = imageops::resize(&buffer, width, height, imageops::FilterType::Lanczos3).into_raw();
    Ok(Rgb8 { width, height, data })
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bilinear_keeps_a_linear_ramp() {
        let ramp = Tensor::new(&[[[[0f32, 1.], [2., 3.]]]], &Device::Cpu).unwrap();
        let large = bilinear(&ramp, 4, 4).unwrap().squeeze(0).unwrap().squeeze(0).unwrap();
        let rows = large.to_vec2::<f32>().unwrap();
        assert_eq!(rows[0], [0.0, 0.25, 0.75, 1.0]);
        assert_eq!(rows[1], [0.5, 0.75, 1.25, 1.5]);
        assert_eq!(rows[3], [2.0, 2.25, 2.75, 3.0]);
    }

    proptest! {
        /// A mean of neighbours never leaves their range, and the same size changes nothing.
        #[test]
        fn bilinear_stays_within_the_input_range(values in proptest::collection::vec(-3f32..3.0, 12), h in 1usize..9, w in 1usize..9) {
            let latents = Tensor::from_vec(values.clone(), (1, 1, 3, 4), &Device::Cpu).unwrap();
            let found = bilinear(&latents, h, w).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let (low, high) = values.iter().fold((f32::MAX, f32::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
            prop_assert!(found.iter().all(|v| (low - 1e-5..=high + 1e-5).contains(v)));
            let same = bilinear(&latents, 3, 4).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            prop_assert_eq!(same, values);
        }
    }

    #[test]
    fn lanczos_keeps_a_flat_image() {
        let grey = Rgb8 { width: 5, height: 3, data: vec![77; 45] };
        let large = lanczos(grey, 8, 16).unwrap();
        assert_eq!(large, Rgb8 { width: 8, height: 16, data: vec![77; 384] });
        assert!(lanczos(Rgb8 { width: 5, height: 3, data: Vec::new() }, 8, 8).is_err());
    }
}
