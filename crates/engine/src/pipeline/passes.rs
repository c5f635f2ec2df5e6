//! Base pass and hires pass of one image: from the text context to the latents.

use std::ops::ControlFlow;

use adire_protocol::{GenerationSpec, HiresSpec, HiresUpscaler, Pass};
use candle_core::{DType, Tensor};

use super::{
    Pipeline, StepReport,
    init_image::{self, InitImage},
    planned::Models,
    upscale,
};
use crate::{
    EngineError, NoiseSource, Result,
    noise::slerp,
    sampler::{self, Start},
};

/// The passes of one image.
pub(super) struct Passes<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) models: &'a mut Models,
    pub(super) spec: &'a GenerationSpec,
    pub(super) context: Tensor,
    /// Steps of earlier passes.
    pub(super) done: u32,
    pub(super) on_step: &'a mut dyn FnMut(StepReport) -> ControlFlow<()>,
}

impl Passes<'_> {
    /// Base pass: from noise or from the init image. Random numbers are drawn in the order of diffusers' pipelines: the
    /// sample of the encoded init image, then the noise.
    pub(super) fn base_pass(&mut self, init_image: Option<InitImage<'_>>) -> Result<Tensor> {
        let Pipeline { vae, device, .. } = self.pipeline;
        let (spec, factor) = (self.spec, vae.factor());
        let mut noise = NoiseSource::new(spec.rng, spec.seed);
        let shape = [1, vae.latent_channels(), spec.height as usize / factor, spec.width as usize / factor];
        let image = init_image
            .map(|init_image| init_image::encode(vae, init_image.image, &mut noise, device))
            .transpose()?;
        let drawn = self.varied(noise.randn(&shape, device)?)?;
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
    pub(super) fn hires_pass(&mut self, hires: &HiresSpec, latents: &Tensor) -> Result<Tensor> {
        let Pipeline { vae, device, .. } = self.pipeline;
        let (height, width) = (hires.height as usize / vae.factor(), hires.width as usize / vae.factor());
        // A1111 seeds the hires pass like the base pass.
        let mut noise = NoiseSource::new(self.spec.rng, self.spec.seed);
        let image = match hires.upscaler {
            HiresUpscaler::Latent => upscale::bilinear(latents, height, width)?,
            HiresUpscaler::Image => {
                let image =
                    upscale::lanczos(self.pipeline.decode_image(latents)?, hires.width, hires.height)?;
                init_image::encode(vae, &image, &mut noise, device)?
            }
        };
        let drawn = self.varied(noise.randn(image.dims(), device)?)?;
        let pass = hires.pass();
        let start = Start { noise: &drawn, image: Some(&image), skip: pass.skip as usize, mask: None };
        self.run(pass, &mut noise, start)
    }

    /// The noise of the seed, with that of the variation seed mixed in.
    fn varied(&self, noise: Tensor) -> Result<Tensor> {
        let GenerationSpec { rng, subseed, subseed_strength, .. } = self.spec;
        let Some((subseed, strength)) = subseed.zip(*subseed_strength) else { return Ok(noise) };
        let other = NoiseSource::new(*rng, subseed).randn(noise.dims(), noise.device())?;
        slerp(&noise, &other, strength)
    }

    fn run(&mut self, pass: Pass, noise: &mut NoiseSource, start: Start<'_>) -> Result<Tensor> {
        let Self { pipeline, models, spec, context, done, on_step } = self;
        let Pipeline { unet, dtype, preview, schedule, .. } = pipeline;
        let guided = spec.guidance > 1.0;
        let mut model = |x: &Tensor, timestep: f64| -> Result<Tensor> {
            let x = x.to_dtype(*dtype)?;
            let predicted = models.forward(unet, &x, timestep, context, guided)?;
            if !guided {
                return Ok(predicted);
            }
            let both = predicted.to_dtype(DType::F32)?;
            let (without, with) = (both.narrow(0, 0, 1)?, both.narrow(0, 1, 1)?);
            Ok((&without + ((with - &without)? * spec.guidance)?)?)
        };
        let steps = spec.total_steps();
        // A failed preview must not look like a cancellation.
        let mut failure = None;
        let mut report = |at: sampler::SampleStep<'_>| match preview.render(at.denoised) {
            Ok(preview) => on_step(StepReport { step: *done + at.step as u32, steps, preview }),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
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
