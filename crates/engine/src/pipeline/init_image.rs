//! Init image and mask for img2img and inpainting.

use candle_core::{DType, Device, Tensor};

use crate::{EngineError, NoiseSource, Posterior, Result, Rgb8, Vae};

/// An init image, with a mask for inpainting.
#[derive(Clone, Copy, Debug)]
pub struct InitImage<'a> {
    /// The pixels, of the requested size.
    pub image: &'a Rgb8,
    /// The area to inpaint; `None` regenerates everything.
    pub mask: Option<&'a InpaintMask>,
}

/// The pixels to regenerate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InpaintMask {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Row-major, from the top; true where the image is regenerated.
    pub inpaint: Vec<bool>,
}

impl InitImage<'_> {
    /// Refuses an image or mask of another size.
    pub(super) fn check(&self, width: u32, height: u32) -> Result<()> {
        let pixels = width as usize * height as usize;
        let Rgb8 { width: w, height: h, data } = self.image;
        if (*w, *h, data.len()) != (width, height, 3 * pixels) {
            return Err(EngineError::Request(format!(
                "the init image has {w} × {h} pixels and {} bytes; expected {width} × {height} pixels",
                data.len()
            )));
        }
        match self.mask {
            Some(mask) if (mask.width, mask.height, mask.inpaint.len()) != (width, height, pixels) => {
                Err(EngineError::Request(format!(
                    "the mask has {} × {} pixels; expected {width} × {height}",
                    mask.width, mask.height
                )))
            }
            _ => Ok(()),
        }
    }

    /// Copies the unmasked pixels of the init image into `output`, which has the same size.
    pub(super) fn restore_unmasked(&self, output: &mut Rgb8) {
        let Some(mask) = self.mask else { return };
        let pixels = output.data.chunks_exact_mut(3).zip(self.image.data.chunks_exact(3));
        for ((made, kept), inpaint) in pixels.zip(&mask.inpaint) {
            if !inpaint {
                made.copy_from_slice(kept);
            }
        }
    }
}

impl InpaintMask {
    /// [1, 1, height / factor, width / factor], 1 where the image is regenerated: each latent takes the first of its
    /// pixels (torch's `interpolate` without a mode).
    pub(super) fn latent(&self, factor: usize, device: &Device) -> Result<Tensor> {
        let (width, height) = (self.width as usize, self.height as usize);
        let rows = self.inpaint.chunks_exact(width.max(1)).step_by(factor);
        let numbers: Vec<f32> = rows
            .flat_map(|row| row.iter().step_by(factor).map(|inpaint| f32::from(u8::from(*inpaint))))
            .collect();
        Ok(Tensor::from_vec(numbers, (1, 1, height.div_ceil(factor), width.div_ceil(factor)), device)?)
    }
}

impl Rgb8 {
    /// [1, 3, height, width], −1 to 1, f32.
    fn to_tensor(&self, device: &Device) -> Result<Tensor> {
        let shape = (1, self.height as usize, self.width as usize, 3);
        let bytes = Tensor::from_slice(&self.data, shape, device)?;
        Ok((bytes.permute((0, 3, 1, 2))?.to_dtype(DType::F32)? / 255.0)?.affine(2.0, -1.0)?.contiguous()?)
    }
}

/// Encodes `image` to a latent in the UNet's scale, f32: a sample of the encoder's posterior, drawn with the next
/// numbers of `noise` (diffusers' `retrieve_latents`).
pub(super) fn encode(vae: &Vae, image: &Rgb8, noise: &mut NoiseSource, device: &Device) -> Result<Tensor> {
    let Posterior { mean, log_variance } = vae.encode(&image.to_tensor(device)?)?;
    let deviation = (log_variance * 0.5)?.exp()?;
    vae.scale(&(&mean + (deviation * noise.randn(mean.dims(), device)?)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked() -> (Rgb8, InpaintMask) {
        let image = Rgb8 { width: 6, height: 4, data: (0..72).collect() };
        let inpaint = (0..24).map(|i| (i / 2 + i / 12) % 2 == 0).collect();
        (image, InpaintMask { width: 6, height: 4, inpaint })
    }

    #[test]
    fn a_mask_latent_takes_the_first_of_its_pixels() {
        let (_, mask) = checked();
        let latent = mask.latent(2, &Device::Cpu).unwrap();
        assert_eq!(latent.dims(), [1, 1, 2, 3]);
        assert_eq!(latent.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [1., 0., 1., 0., 1., 0.]);
    }

    #[test]
    fn unmasked_pixels_are_restored_exactly() {
        let (image, mask) = checked();
        let mut made = Rgb8 { data: vec![200; 72], ..image.clone() };
        InitImage { image: &image, mask: Some(&mask) }.restore_unmasked(&mut made);
        for (i, inpaint) in mask.inpaint.iter().enumerate() {
            let expected = if *inpaint { &[200; 3][..] } else { &image.data[3 * i..3 * i + 3] };
            assert_eq!(&made.data[3 * i..3 * i + 3], expected);
        }
        let mut untouched = Rgb8 { data: vec![200; 72], ..image.clone() };
        InitImage { image: &image, mask: None }.restore_unmasked(&mut untouched);
        assert_eq!(untouched.data, vec![200; 72]);
    }

    #[test]
    fn images_and_masks_of_another_size_are_refused() {
        let (image, mask) = checked();
        let init_image = InitImage { image: &image, mask: Some(&mask) };
        assert!(init_image.check(6, 4).is_ok());
        assert!(init_image.check(4, 6).is_err());
        let short = Rgb8 { data: vec![0; 71], ..image.clone() };
        assert!(InitImage { image: &short, mask: None }.check(6, 4).is_err());
        let small = InpaintMask { width: 3, ..mask };
        assert!(InitImage { image: &image, mask: Some(&small) }.check(6, 4).is_err());
    }
}
