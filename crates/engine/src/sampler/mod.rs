//! Samplers: integrate from noise to a clean latent, with the model as a function.
//!
//! One file per sampler, each one function over a `Trajectory`; timesteps and sigmas come from `schedule`. Knows
//! neither the model, nor guidance, nor images.

mod ddim;
mod dpmpp_2m;
mod dpmpp_2m_sde;
mod dpmpp_sde;
mod euler;
mod euler_a;
mod heun;
mod lcm;
mod pndm;
pub mod schedule;
mod sigmas;
mod start;
mod unipc;

use std::ops::ControlFlow;

use adire_protocol::Sampler;
use candle_core::{DType, Tensor};

pub use schedule::{NoiseSchedule, PredictionType, SchedulerConfig};
pub use start::Start;

use crate::{EngineError, NoiseSource, Result};

/// State after one step of a sampler.
#[derive(Debug)]
pub struct SampleStep<'a> {
    /// Steps done, from 1 to `steps`, each reported once, without the steps that [`Start`] skips. A step may take two
    /// model calls ([`Sampler::model_calls`]).
    pub step: usize,
    /// Steps in total.
    pub steps: usize,
    /// Current latent, in the sampler's own scale (for Euler, Heun and DPM++ SDE its standard
    /// deviation is √(σ² + 1), for the others 1), `[batch, channels, height, width]`, f32.
    pub latent: &'a Tensor,
    /// The model's current estimate of the clean latent, in the scale that the VAE expects, f32.
    pub denoised: &'a Tensor,
}

/// Runs one trajectory and returns the clean latent, f32, of the shape of `start`.
///
/// `start` is unit normal noise `[batch, channels, height, width]`, scaled here as the sampler needs, or a [`Start`]
/// with an init latent.
/// `model(x, timestep)` gets the latent scaled as the UNet expects it and a timestep of training (fractional for
/// Euler, Heun and DPM++ SDE), and returns the guided prediction of the schedule's type. `noise` must be the source
/// that `start` was drawn from: Euler a, DPM++ 2M SDE and LCM continue it, in the order of diffusers; DPM++ SDE has
/// a Brownian motion of its own from the same seeds ([`NoiseSource::brownian`]).
///
/// Equal to diffusers' schedulers made by `from_config` from the same scheduler config: `DDIMScheduler` (η = 0),
/// `EulerDiscreteScheduler`, `EulerAncestralDiscreteScheduler`, `HeunDiscreteScheduler`, `PNDMScheduler`
/// (`skip_prk_steps`), `DPMSolverMultistepScheduler` (order 2, `dpmsolver++` or `sde-dpmsolver++`, with or without
/// `use_karras_sigmas`), `DPMSolverSDEScheduler` (`noise_sampler_seed` = seed), `UniPCMultistepScheduler` (order 2,
/// `bh2`) and `LCMScheduler`. What a sampler's name says is not read from the config: its algorithm, its order, and
/// whether its sigmas are Karras's. A schedule rescaled to zero terminal SNR stays so for every sampler, also for
/// those whose class in diffusers lacks the option (PNDM, Heun, DPM++ SDE), and `sample` predictions go through
/// every sampler, also where diffusers refuses them (Euler a, PNDM, DPM++ SDE).
///
/// # Errors
/// [`EngineError::Cancelled`] when `on_step` breaks; [`EngineError::Request`] for 0 steps or more than the
/// schedule, or LCM's, has; whatever `model` returns.
pub fn sample<'a>(
    sampler: Sampler,
    schedule: &NoiseSchedule,
    steps: usize,
    noise: &mut NoiseSource,
    start: impl Into<Start<'a>>,
    model: &mut dyn FnMut(&Tensor, f64) -> Result<Tensor>,
    on_step: &mut dyn FnMut(SampleStep<'_>) -> ControlFlow<()>,
) -> Result<Tensor> {
    if steps == 0 || steps > schedule.len() {
        let most = schedule.len();
        return Err(EngineError::Request(format!("steps must be 1 to {most}; got {steps}")));
    }
    let start = start.into();
    if start.skip >= steps {
        let skip = start.skip;
        return Err(EngineError::Request(format!(
            "cannot skip {skip} of {steps} steps; at least one must remain"
        )));
    }
    let mut trajectory = Trajectory { schedule, steps, noise, start, model, on_step };
    match sampler {
        Sampler::Ddim => ddim::sample(&mut trajectory),
        Sampler::Euler => euler::sample(&mut trajectory),
        Sampler::EulerA => euler_a::sample(&mut trajectory),
        Sampler::Heun => heun::sample(&mut trajectory),
        Sampler::Pndm => pndm::sample(&mut trajectory),
        Sampler::Dpmpp2m => dpmpp_2m::sample(&mut trajectory),
        Sampler::Dpmpp2mKarras => dpmpp_2m::sample_karras(&mut trajectory),
        Sampler::DpmppSde => dpmpp_sde::sample(&mut trajectory),
        Sampler::DpmppSdeKarras => dpmpp_sde::sample_karras(&mut trajectory),
        Sampler::Dpmpp2mSdeKarras => dpmpp_2m_sde::sample_karras(&mut trajectory),
        Sampler::UniPc => unipc::sample(&mut trajectory),
        Sampler::Lcm => lcm::sample(&mut trajectory),
    }
}

/// State of one trajectory.
struct Trajectory<'a> {
    schedule: &'a NoiseSchedule,
    steps: usize,
    noise: &'a mut NoiseSource,
    start: Start<'a>,
    model: &'a mut dyn FnMut(&Tensor, f64) -> Result<Tensor>,
    on_step: &'a mut dyn FnMut(SampleStep<'_>) -> ControlFlow<()>,
}

impl Trajectory<'_> {
    fn predict(&mut self, x: &Tensor, timestep: f64) -> Result<Tensor> {
        Ok((self.model)(x, timestep)?.to_dtype(DType::F32)?)
    }

    /// Calls the model at `x` = α·x₀ + σ·ε; returns its estimate of x₀.
    fn denoise_scaled(&mut self, x: &Tensor, level: NoiseLevel, timestep: f64) -> Result<Tensor> {
        let prediction = self.predict(x, timestep)?;
        level.denoised(self.schedule.config.prediction_type, x, &prediction)
    }

    /// Calls the model at `x` = x₀ + σ·ε, in k-diffusion's σ, ; returns its estimate of x₀.
    fn denoise(&mut self, x: &Tensor, sigma: f64, timestep: f64) -> Result<Tensor> {
        let level = NoiseLevel::from_sigma(sigma);
        self.denoise_scaled(&(x * level.alpha)?, level, timestep)
    }

    /// Clamps an estimate of x₀ if the scheduler config sets `clip_sample`; `default` applies where it is absent.
    fn clipped(&self, denoised: Tensor, default: bool) -> Result<Tensor> {
        let config = &self.schedule.config;
        if !config.clip_sample.unwrap_or(default) {
            return Ok(denoised);
        }
        Ok(denoised.clamp(-config.clip_sample_range, config.clip_sample_range)?)
    }

    /// Reports step `step` of the whole trajectory, counted from 1, as done.
    fn report(&mut self, step: usize, latent: &Tensor, denoised: &Tensor) -> Result<()> {
        let (step, steps) = (step - self.start.skip, self.steps - self.start.skip);
        let denoised = &self.start.apply_mask_scaled(denoised.clone(), None)?;
        match (self.on_step)(SampleStep { step, steps, latent, denoised }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(EngineError::Cancelled),
        }
    }

    /// Draws unit normal noise of the latent's shape.
    fn draw_noise(&mut self) -> Result<Tensor> {
        self.noise.randn(self.start.noise.dims(), self.start.noise.device())
    }
}

/// Noise level of a variance-preserving trajectory: x = α·x₀ + σ·ε with α² + σ² = 1.
#[derive(Clone, Copy, Debug)]
struct NoiseLevel {
    alpha: f64,
    sigma: f64,
}

impl NoiseLevel {
    fn from_alpha_bar(alpha_bar: f64) -> Self {
        Self { alpha: alpha_bar.sqrt(), sigma: (1.0 - alpha_bar).sqrt() }
    }

    /// From k-diffusion's σ, for which x = x₀ + σ·ε.
    fn from_sigma(sigma: f64) -> Self {
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self { alpha, sigma: sigma * alpha }
    }

    /// x₀ from the model's prediction at `x`.
    fn denoised(self, kind: PredictionType, x: &Tensor, prediction: &Tensor) -> Result<Tensor> {
        let Self { alpha, sigma } = self;
        Ok(match kind {
            // Pure noise says nothing about x₀ to a model that predicts ε; the bound keeps the result finite.
            PredictionType::Epsilon => ((x - (prediction * sigma)?)? / alpha.max(1e-6))?,
            PredictionType::VPrediction => ((x * alpha)? - (prediction * sigma)?)?,
            PredictionType::Sample => prediction.clone(),
        })
    }

    /// ε from the model's prediction at `x`.
    fn epsilon(self, kind: PredictionType, x: &Tensor, prediction: &Tensor) -> Result<Tensor> {
        let Self { alpha, sigma } = self;
        Ok(match kind {
            PredictionType::Epsilon => prediction.clone(),
            PredictionType::VPrediction => ((prediction * alpha)? + (x * sigma)?)?,
            PredictionType::Sample => ((x - (prediction * alpha)?)? / sigma)?,
        })
    }
}
