//! Samplers: integrate from noise to a clean latent, with the model as a function.
//!
//! One file per sampler, each a `Method`: which calls of the model it makes (`Plan`), and what it does with the estimate
//! of each. The driver calls the model, skips steps, restores what a mask keeps, and reports progress. Timesteps and
//! sigmas come from `schedule` and `sigmas`. Knows neither the model, nor guidance, nor images.

mod ddim;
mod dpmpp_2m;
mod dpmpp_2m_sde;
mod dpmpp_sde;
mod driver;
mod euler;
mod euler_a;
mod heun;
mod lcm;
mod level;
mod pndm;
pub mod schedule;
mod sigmas;
mod start;
mod unipc;

use std::ops::ControlFlow;

use adire_protocol::{Sampler, Sampling};
use candle_core::Tensor;

use driver::{Estimate, Grid, Method, Noise, Plan, Trajectory};
use level::NoiseLevel;
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
/// `bh2`) and `LCMScheduler`. Algorithm, order and
/// [`Sampling`]'s schedule are not read from the config. A schedule rescaled to zero terminal SNR stays so for every sampler, also for
/// those whose class in diffusers lacks the option (PNDM, Heun, DPM++ SDE), and `sample` predictions go through
/// every sampler, also where diffusers refuses them (Euler a, PNDM, DPM++ SDE).
///
/// # Errors
/// [`EngineError::Cancelled`] when `on_step` breaks; [`EngineError::Request`] for a sampler that does not run on the
/// schedule, and for 0 steps or more than the schedule, or LCM's, has; whatever `model` returns.
pub fn sample<'a>(
    sampling: impl Into<Sampling>,
    schedule: &NoiseSchedule,
    steps: usize,
    noise: &mut NoiseSource,
    start: impl Into<Start<'a>>,
    model: &mut dyn FnMut(&Tensor, f64) -> Result<Tensor>,
    on_step: &mut dyn FnMut(SampleStep<'_>) -> ControlFlow<()>,
) -> Result<Tensor> {
    let sampling: Sampling = sampling.into();
    if !sampling.is_supported() {
        let Sampling { sampler, schedule } = sampling;
        return Err(EngineError::Request(format!("{sampler} does not run on the schedule {schedule}")));
    }
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
    let grid = Grid { noise_schedule: schedule, schedule: sampling.schedule, steps };
    let noise = Noise { source: noise, shape: start.noise.dims(), device: start.noise.device() };
    let trajectory = Trajectory { grid, noise, start, model, on_step };
    match sampling.sampler {
        Sampler::Ddim => trajectory.run::<ddim::Ddim>(),
        Sampler::Euler => trajectory.run::<euler::Euler>(),
        Sampler::EulerA => trajectory.run::<euler_a::EulerA>(),
        Sampler::Heun => trajectory.run::<heun::Heun>(),
        Sampler::Pndm => trajectory.run::<pndm::Pndm>(),
        Sampler::Dpmpp2m => trajectory.run::<dpmpp_2m::Dpmpp2m>(),
        Sampler::DpmppSde => trajectory.run::<dpmpp_sde::DpmppSde>(),
        Sampler::Dpmpp2mSde => trajectory.run::<dpmpp_2m_sde::Dpmpp2mSde>(),
        Sampler::UniPc => trajectory.run::<unipc::UniPc>(),
        Sampler::Lcm => trajectory.run::<lcm::Lcm>(),
    }
}
