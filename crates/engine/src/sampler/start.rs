//! Start of a trajectory (noise, or a noised init latent) and the mask that keeps part of it.

use candle_core::Tensor;

use super::NoiseLevel;
use crate::Result;

/// Start of a trajectory: noise, and optionally an init latent and a mask.
///
/// Equal to diffusers' `StableDiffusionImg2ImgPipeline` and, with a mask, `StableDiffusionInpaintPipeline` with a UNet
/// that has no mask input.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Unit normal noise, `[batch, channels, height, width]`, f32.
    pub noise: &'a Tensor,
    /// Clean latent of the init image, in the UNet's scale, of the same shape, f32. Noised to the level of the first
    /// step that is run.
    pub image: Option<&'a Tensor>,
    /// Steps skipped at the noisy end; fewer than the total.
    pub skip: usize,
    /// `[1 or batch, 1, height, width]`, f32: 1 where the image is regenerated, 0 where it is kept. After every model
    /// call, the kept region is restored at the next noise level. With a mask and no skipped steps, the start is pure
    /// noise.
    pub mask: Option<&'a Tensor>,
}

impl<'a> From<&'a Tensor> for Start<'a> {
    /// The whole trajectory, from noise alone.
    fn from(noise: &'a Tensor) -> Self {
        Self { noise, image: None, skip: 0, mask: None }
    }
}

impl Start<'_> {
    /// Initial latent at `level`. Without an init latent noise alone: as it is, or of standard deviation `scale`.
    pub(super) fn initial_latent(&self, level: NoiseLevel, scale: Option<f64>) -> Result<Tensor> {
        // With a mask and no skipped steps, nothing of the image is in the start.
        match (self.image.filter(|_| self.mask.is_none() || self.skip > 0), scale) {
            (Some(image), _) => noised(image, self.noise, level),
            (None, Some(scale)) => Ok((self.noise * scale)?),
            (None, None) => Ok(self.noise.clone()),
        }
    }

    /// Restores the unmasked region of `x`, noised to level `next`; without noise for `None`.
    pub(super) fn apply_mask(&self, x: Tensor, next: Option<NoiseLevel>) -> Result<Tensor> {
        let (Some(image), Some(mask)) = (self.image, self.mask) else { return Ok(x) };
        match next {
            Some(level) => blend(&noised(image, self.noise, level)?, &x, mask),
            None => blend(image, &x, mask),
        }
    }
}

/// α·x₀ + σ·ε.
fn noised(image: &Tensor, noise: &Tensor, NoiseLevel { alpha, sigma }: NoiseLevel) -> Result<Tensor> {
    Ok(((image * alpha)? + (noise * sigma)?)?)
}

/// (1 − mask)·outside + mask·inside.
fn blend(outside: &Tensor, inside: &Tensor, mask: &Tensor) -> Result<Tensor> {
    Ok((outside.broadcast_mul(&mask.affine(-1.0, 1.0)?)? + inside.broadcast_mul(mask)?)?)
}
