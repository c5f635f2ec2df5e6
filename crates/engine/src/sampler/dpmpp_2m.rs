//! DPM-Solver++ (2M), midpoint form (Lu et al. 2022, algorithm 2).
//!
//! The first and the last step are of first order: the first lacks a previous estimate, and
//! the last ends at σ = 0.

use candle_core::Tensor;

use super::{NoiseLevel, Trajectory, sigmas::Sigmas};
use crate::Result;

/// On the sigmas of training.
pub(super) fn sample(trajectory: &mut Trajectory<'_>) -> Result<Tensor> {
    let sigmas = Sigmas::multistep(trajectory.schedule, trajectory.steps);
    integrate(trajectory, sigmas)
}

/// On Karras sigmas.
pub(super) fn sample_karras(trajectory: &mut Trajectory<'_>) -> Result<Tensor> {
    let sigmas = Sigmas::multistep_karras(trajectory.schedule, trajectory.steps);
    integrate(trajectory, sigmas)
}

/// Integrates along the given sigmas.
fn integrate(trajectory: &mut Trajectory<'_>, Sigmas { timesteps, sigmas, .. }: Sigmas) -> Result<Tensor> {
    let mut x =
        trajectory.start.initial_latent_scaled(NoiseLevel::from_sigma(sigmas[trajectory.start.skip]))?;
    let mut previous: Option<Tensor> = None;
    for (index, timestep) in timesteps.into_iter().enumerate().skip(trajectory.start.skip) {
        let (here, next) = (NoiseLevel::from_sigma(sigmas[index]), NoiseLevel::from_sigma(sigmas[index + 1]));
        let denoised = trajectory.denoise_scaled(&x, here, timestep)?;
        let direction = match (previous.take(), second_order(&sigmas, index)) {
            (Some(previous), Some(weight)) => (&denoised + ((&denoised - previous)? * weight)?)?,
            _ => denoised.clone(),
        };
        let h = log_snr_step(&sigmas, index);
        x = ((x * (next.sigma / here.sigma))? - (direction * (next.alpha * (-h).exp_m1()))?)?;
        x = trajectory.start.apply_mask_scaled(x, (index + 1 < trajectory.steps).then_some(next))?;
        trajectory.report(index + 1, &x, &denoised)?;
        previous = Some(denoised);
    }
    Ok(x)
}

/// h of step `index`: the difference of λ = log(α/σ), which is −log σ in k-diffusion's σ; infinite when the step
/// ends at σ = 0.
pub(super) fn log_snr_step(sigmas: &[f64], index: usize) -> f64 {
    (sigmas[index] / sigmas[index + 1]).ln()
}

/// Weight 1/(2r) of the difference to the estimate before, or nothing where the step is of first order.
///
/// diffusers does the last step in first order below 15 steps, whatever it ends at. Between equal timesteps
/// (more steps than the schedule can tell apart) the slope is undefined.
pub(super) fn second_order(sigmas: &[f64], index: usize) -> Option<f64> {
    let steps = sigmas.len() - 1;
    let is_last = index + 1 == steps && (steps < 15 || sigmas[steps] == 0.0);
    if index == 0 || is_last {
        return None;
    }
    let (before, h) = (log_snr_step(sigmas, index - 1), log_snr_step(sigmas, index));
    (before > 0.0).then(|| 0.5 * h / before)
}
