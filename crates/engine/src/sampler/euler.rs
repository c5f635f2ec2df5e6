//! Euler steps along the probability-flow ODE dx/dσ = (x − x₀)/σ (Karras et al. 2022, without churn).

use candle_core::Tensor;

use super::{
    Level, Run,
    schedule::{NoiseSchedule, Spacing},
};
use crate::Result;

pub(super) fn sample(run: &mut Run<'_>) -> Result<Tensor> {
    let Sigmas { timesteps, sigmas, start_scale } = sigmas(run.schedule, run.steps);
    let mut x = (&run.start * start_scale)?;
    for (index, timestep) in timesteps.into_iter().enumerate() {
        let (sigma, next) = (sigmas[index], sigmas[index + 1]);
        let denoised = denoise(run, &x, sigma, timestep)?;
        let derivative = ((&x - &denoised)? / sigma)?;
        x = (&x + (derivative * (next - sigma))?)?;
        run.report(index + 1, &x, &denoised)?;
    }
    Ok(x)
}

/// The schedule of both Euler samplers, in k-diffusion's terms: x = x₀ + σ·ε.
pub(super) struct Sigmas {
    pub(super) timesteps: Vec<f64>,
    /// One more than timesteps: the last is 0.
    pub(super) sigmas: Vec<f64>,
    /// Standard deviation of the first latent (diffusers' `init_noise_sigma` after `set_timesteps`).
    pub(super) start_scale: f64,
}

pub(super) fn sigmas(schedule: &NoiseSchedule, steps: usize) -> Sigmas {
    let default_spacing = Spacing::Linspace;
    let train_sigmas = schedule.train_sigmas();
    // diffusers keeps timesteps and sigmas as f32.
    let timesteps: Vec<f64> =
        schedule.timesteps(steps, default_spacing).into_iter().map(|t| f64::from(t as f32)).collect();
    let mut sigmas: Vec<f64> =
        timesteps.iter().map(|t| f64::from(NoiseSchedule::sigma_at(&train_sigmas, *t) as f32)).collect();
    sigmas.push(0.0);
    let max = sigmas[0];
    let start_scale = match schedule.config.timestep_spacing.unwrap_or(default_spacing) {
        Spacing::Linspace | Spacing::Trailing => max,
        Spacing::Leading => (max * max + 1.0).sqrt(),
    };
    Sigmas { timesteps, sigmas, start_scale }
}

/// Calls the model at `x` = x₀ + σ·ε and returns its x₀.
pub(super) fn denoise(run: &mut Run<'_>, x: &Tensor, sigma: f64, timestep: f64) -> Result<Tensor> {
    let level = Level::from_sigma(sigma);
    let scaled = (x * level.alpha)?;
    let prediction = run.predict(&scaled, timestep)?;
    level.denoised(run.schedule.config.prediction_type, &scaled, &prediction)
}
