//! Heun steps along the probability-flow ODE dx/dσ = (x − x₀)/σ (Karras et al. 2022, algorithm 1): an Euler step,
//! then the mean of the slopes at its two ends. The last step ends at σ = 0, where the slope is undefined, and stays
//! Euler's.

use candle_core::Tensor;

use super::{Trajectory, schedule::FinalSigma, sigmas::Sigmas};
use crate::Result;

pub(super) fn sample(trajectory: &mut Trajectory<'_>) -> Result<Tensor> {
    let Sigmas { timesteps, sigmas, start_scale } =
        Sigmas::unscaled(trajectory.schedule, trajectory.steps, FinalSigma::Zero);
    let mut x = trajectory.start.initial_latent(sigmas[trajectory.start.skip], start_scale)?;
    for (index, timestep) in timesteps.iter().enumerate().skip(trajectory.start.skip) {
        let (sigma, next) = (sigmas[index], sigmas[index + 1]);
        let estimate = trajectory.denoise(&x, sigma, *timestep)?;
        let mut denoised = trajectory.clipped(estimate, false)?;
        let mut slope = ((&x - &denoised)? / sigma)?;
        let predicted = (&x + (&slope * (next - sigma))?)?;
        let has_slope = index + 1 < trajectory.steps;
        let predicted = trajectory.start.apply_mask(predicted, has_slope.then_some(next))?;
        x = match timesteps.get(index + 1) {
            Some(next_timestep) => {
                let estimate = trajectory.denoise(&predicted, next, *next_timestep)?;
                denoised = trajectory.clipped(estimate, false)?;
                slope = ((slope + ((predicted - &denoised)? / next)?)? / 2.0)?;
                trajectory.start.apply_mask((x + (slope * (next - sigma))?)?, Some(next))?
            }
            None => predicted,
        };
        trajectory.report(index + 1, &x, &denoised)?;
    }
    Ok(x)
}
