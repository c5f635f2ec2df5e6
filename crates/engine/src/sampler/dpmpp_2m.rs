//! DPM-Solver++ (2M), midpoint form (Lu et al. 2022, algorithm 2; diffusers' `DPMSolverMultistepScheduler`).
//!
//! The first and the last step are of first order: the first lacks a previous estimate, and
//! the last ends at σ = 0.

use candle_core::Tensor;

use super::{Estimate, Grid, Method, Noise, NoiseLevel, Plan, sigmas::Sigmas};
use crate::Result;

pub(super) struct Dpmpp2m {
    sigmas: Vec<f64>,
    /// The estimate of the step before.
    previous: Option<Tensor>,
}

impl Method for Dpmpp2m {
    fn new(Grid { noise_schedule, schedule, steps }: Grid<'_>, _: &mut Noise<'_>) -> Result<(Plan, Self)> {
        let sigmas = Sigmas::multistep(noise_schedule, schedule, steps);
        Ok((sigmas.plan(), Self { sigmas: sigmas.sigmas, previous: None }))
    }

    fn advance(&mut self, step: usize, x: &Tensor, estimate: &Estimate, _: &mut Noise<'_>) -> Result<Tensor> {
        let sigmas = &self.sigmas;
        let (here, next) = (NoiseLevel::from_sigma(sigmas[step]), NoiseLevel::from_sigma(sigmas[step + 1]));
        let direction = direction(&estimate.denoised, self.previous.take(), second_order(sigmas, step))?;
        let h = log_snr_step(sigmas, step);
        self.previous = Some(estimate.denoised.clone());
        Ok(((x * (next.sigma / here.sigma))? - (direction * (next.alpha * (-h).exp_m1()))?)?)
    }
}

/// The estimate, moved on by `weight` times its difference to the one before; as it is in a step of first order.
pub(super) fn direction(denoised: &Tensor, previous: Option<Tensor>, weight: Option<f64>) -> Result<Tensor> {
    Ok(match (previous, weight) {
        (Some(previous), Some(weight)) => (denoised + ((denoised - previous)? * weight)?)?,
        _ => denoised.clone(),
    })
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
