//! Where a trajectory begins: with noise alone, or in its middle with a noised image; and what of the image stays.

use candle_core::Tensor;

use super::NoiseLevel;
use crate::Result;

/// What a trajectory begins with.
///
/// As diffusers' `StableDiffusionImg2ImgPipeline` and, with a mask, `StableDiffusionInpaintPipeline` with a UNet that
/// knows nothing of masks.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Unit normal noise, `[batch, channels, height, width]`, f32.
    pub noise: &'a Tensor,
    /// The clean latent of an image, in the UNet's scale and of the same shape, f32. Noise is added to it for the
    /// first step that is done.
    pub image: Option<&'a Tensor>,
    /// Steps at the noisy end that are left out, fewer than there are.
    pub skip: usize,
    /// `[1 or batch, 1, height, width]`, f32: 1 where the image is made anew, 0 where it stays. After every call of
    /// the model, what stays is put back with the noise of the next one. With a mask and nothing left out, the
    /// beginning is noise alone.
    pub mask: Option<&'a Tensor>,
}

impl<'a> From<&'a Tensor> for Start<'a> {
    /// The whole trajectory from noise.
    fn from(noise: &'a Tensor) -> Self {
        Self { noise, image: None, skip: 0, mask: None }
    }
}

impl Start<'_> {
    /// x = x₀ + σ·ε in k-diffusion's σ; `scale`: the factor of noise alone.
    pub(super) fn initial_latent(&self, sigma: f64, scale: f64) -> Result<Tensor> {
        Ok(match self.init_latent() {
            Some(image) => (image + (self.noise * sigma)?)?,
            None => (self.noise * scale)?,
        })
    }

    /// x = α·x₀ + σ·ε.
    pub(super) fn initial_latent_scaled(&self, level: NoiseLevel) -> Result<Tensor> {
        match self.init_latent() {
            Some(image) => noised(image, self.noise, level),
            None => Ok(self.noise.clone()),
        }
    }

    fn init_latent(&self) -> Option<&Tensor> {
        self.image.filter(|_| self.mask.is_none() || self.skip > 0)
    }

    /// `x` with what stays put back, at k-diffusion's σ `next`; `None` after the last call of the model.
    pub(super) fn apply_mask(&self, x: Tensor, next: Option<f64>) -> Result<Tensor> {
        let (Some(image), Some(mask)) = (self.image, self.mask) else { return Ok(x) };
        match next {
            Some(sigma) => blend(&(image + (self.noise * sigma)?)?, &x, mask),
            None => blend(image, &x, mask),
        }
    }

    /// The same for x = α·x₀ + σ·ε.
    pub(super) fn apply_mask_scaled(&self, x: Tensor, next: Option<NoiseLevel>) -> Result<Tensor> {
        let (Some(image), Some(mask)) = (self.image, self.mask) else { return Ok(x) };
        match next {
            Some(level) => blend(&noised(image, self.noise, level)?, &x, mask),
            None => blend(image, &x, mask),
        }
    }
}

fn noised(image: &Tensor, noise: &Tensor, NoiseLevel { alpha, sigma }: NoiseLevel) -> Result<Tensor> {
    Ok(((image * alpha)? + (noise * sigma)?)?)
}

/// (1 − mask)·outside + mask·inside.
fn blend(outside: &Tensor, inside: &Tensor, mask: &Tensor) -> Result<Tensor> {
    Ok((outside.broadcast_mul(&mask.affine(-1.0, 1.0)?)? + inside.broadcast_mul(mask)?)?)
}
