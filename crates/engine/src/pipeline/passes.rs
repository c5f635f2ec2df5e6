//! Base pass and hires pass: from the text context to the latents, of one image or of a batch.

use std::ops::ControlFlow;

use adire_protocol::{HiresSpec, HiresUpscaler, Pass};
use candle_core::{DType, Tensor};

use super::{
    Pipeline, StepReport,
    batch::{Batch, ImageUpdate},
    init_image::{self, InitImage},
    planned::Models,
    upscale,
};
use crate::{
    EngineError, NoiseSource, Result,
    sampler::{self, Start},
};

/// The passes of a batch.
pub(super) struct Passes<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) models: &'a mut Models,
    pub(super) batch: Batch<'a>,
    /// Steps of earlier passes.
    pub(super) done: u32,
    /// Gets the image's place in the batch; a break after a step ends that image.
    pub(super) on_update: &'a mut dyn FnMut(usize, ImageUpdate) -> ControlFlow<()>,
}

impl Passes<'_> {
    /// All passes, one after the other.
    pub(super) fn all(&mut self, init_image: Option<InitImage<'_>>) -> Result<Tensor> {
        let latents = self.base_pass(init_image)?;
        match &self.batch.first().hires {
            Some(hires) => self.hires_pass(hires, &latents),
            None => Ok(latents),
        }
    }

    /// Base pass: from noise or from the init image. Random numbers are drawn in the order of diffusers' pipelines: the
    /// sample of the encoded init image, then the noise.
    fn base_pass(&mut self, init_image: Option<InitImage<'_>>) -> Result<Tensor> {
        let Pipeline { vae, device, .. } = self.pipeline;
        let (spec, factor) = (self.batch.first(), vae.factor());
        let mut noise = self.batch.noise();
        let (height, width) = (spec.height as usize / factor, spec.width as usize / factor);
        let shape = [self.batch.len(), vae.latent_channels(), height, width];
        let image = init_image
            .map(|init_image| init_image::encode(vae, init_image.image, &mut noise, device))
            .transpose()?;
        let drawn = self.batch.varied(noise.randn(&shape, device)?)?;
        let mask = init_image.and_then(|init_image| init_image.mask);
        let mask = mask.map(|mask| mask.latent(factor, device)).transpose()?;
        if mask.is_some() {
            // diffusers also encodes the masked image, for inpainting UNets, and draws the numbers of its sample for
            // every model.
            noise.randn(&shape, device)?;
        }
        let pass = spec.first_pass();
        let start =
            Start { noise: &drawn, image: image.as_ref(), skip: pass.skip as usize, mask: mask.as_ref() };
        self.run(pass, &mut noise, start)
    }

    /// Hires pass: upscales `latents`, adds noise and denoises again.
    fn hires_pass(&mut self, hires: &HiresSpec, latents: &Tensor) -> Result<Tensor> {
        let Pipeline { vae, device, .. } = self.pipeline;
        let (height, width) = (hires.height as usize / vae.factor(), hires.width as usize / vae.factor());
        // A1111 seeds the hires pass like the base pass.
        let mut noise = self.batch.noise();
        let image = match hires.upscaler {
            HiresUpscaler::Latent => upscale::bilinear(latents, height, width)?,
            HiresUpscaler::Image => {
                let image =
                    upscale::lanczos(self.pipeline.decode_image(latents)?, hires.width, hires.height)?;
                init_image::encode(vae, &image, &mut noise, device)?
            }
        };
        let drawn = self.batch.varied(noise.randn(image.dims(), device)?)?;
        let pass = hires.pass();
        let start = Start { noise: &drawn, image: Some(&image), skip: pass.skip as usize, mask: None };
        self.run(pass, &mut noise, start)
    }

    fn run(&mut self, pass: Pass, noise: &mut NoiseSource, start: Start<'_>) -> Result<Tensor> {
        let Self { pipeline, models, batch, done, on_update } = self;
        let Pipeline { unet, dtype, preview, schedule, device, .. } = pipeline;
        let spec = batch.first();
        let guidance = batch.guidance(device)?;
        let context = batch.context.clone();
        let mut model = |x: &Tensor, timestep: f64| -> Result<Tensor> {
            let x = x.to_dtype(*dtype)?;
            let predicted = models.forward(unet, &x, timestep, &context, guidance.is_some())?;
            let Some(guidance) = &guidance else { return Ok(predicted) };
            let both = predicted.to_dtype(DType::F32)?;
            let images = both.dim(0)? / 2;
            let (without, with) = (both.narrow(0, 0, images)?, both.narrow(0, images, images)?);
            Ok((&without + (with - &without)?.broadcast_mul(guidance)?)?)
        };
        let steps = spec.total_steps();
        // A failed preview must not look like a cancellation.
        let mut failure = None;
        let mut report = |at: sampler::SampleStep<'_>| {
            let step = *done + at.step as u32;
            let reported = batch.report(&mut |image| {
                let preview = preview.render(at.denoised, image)?;
                let next = on_update(image, ImageUpdate::Step(StepReport { step, steps, preview }));
                if next.is_break() {
                    let _ = on_update(image, ImageUpdate::Ended(Err(EngineError::Cancelled)));
                }
                Ok(next)
            });
            reported.unwrap_or_else(|error| {
                failure = Some(error);
                ControlFlow::Break(())
            })
        };
        let length = pass.schedule as usize;
        let sampled = sampler::sample(spec.sampling, schedule, length, noise, start, &mut model, &mut report);
        let latents = match (sampled, failure) {
            (Err(EngineError::Cancelled), Some(error)) => return Err(error),
            (sampled, _) => sampled?,
        };
        *done += pass.steps();
        Ok(latents)
    }
}
