//! From tensors to images.

use candle_core::{DType, Tensor};

use crate::Result;

/// An RGB image, 8 bits a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgb8 {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Rows from the top, three bytes a pixel.
    pub data: Vec<u8>,
}

impl Rgb8 {
    /// `image` [3, height, width], −1 to 1, to bytes as diffusers does it: (x/2 + 1/2) clamped to 0…1, times
    /// 255, rounded to the nearest (even on a tie).
    pub(crate) fn from_tensor(image: &Tensor) -> Result<Self> {
        let (_, height, width) = image.dims3()?;
        let values = image.permute((1, 2, 0))?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let data = values.into_iter().map(byte).collect();
        Ok(Self { width: width as u32, height: height as u32, data })
    }
}

/// −1…1 to 0…255. What is not a number becomes 0.
pub(crate) fn byte(value: f32) -> u8 {
    ((value / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_range_is_mapped_and_clamped() {
        let bytes: Vec<u8> = [-7.0, -1.0, 0.0, 0.5, 1.0, 9.0, f32::NAN].into_iter().map(byte).collect();
        assert_eq!(bytes, [0, 0, 128, 191, 255, 255, 0]);
    }

    #[test]
    fn channels_become_interleaved() {
        let planes = Tensor::new(&[[[-1f32, 1.]], [[1., -1.]], [[0., 0.]]], &Device::Cpu).unwrap();
        let image = Rgb8::from_tensor(&planes).unwrap();
        assert_eq!(image, Rgb8 { width: 2, height: 1, data: vec![0, 255, 128, 255, 0, 128] });
    }
}
