//! Euler steps along the probability-flow ODE dx/dσ = (x − x₀)/σ (Karras et al. 2022, without churn).

use candle_core::Tensor;

use super::{Trajectory, sigmas::Sigmas};
use crate::Result;

pub(super) fn sample(trajectory: &mut Trajectory<'_>) -> Result<Tensor> {
    let last = trajectory.schedule.config.final_sigmas_type;
    let Sigmas { timesteps, sigmas, start_scale } =
        Sigmas::unscaled(trajectory.schedule, trajectory.steps, last);
    let mut x = trajectory.start.initial_latent(sigmas[trajectory.start.skip], start_scale)?;
    for (index, timestep) in timesteps.into_iter().enumerate().skip(trajectory.start.skip) {
        let (sigma, next) = (sigmas[index], sigmas[index + 1]);
        let denoised = trajectory.denoise(&x, sigma, timestep)?;
        let derivative = ((&x - &denoised)? / sigma)?;
        x = (&x + (derivative * (next - sigma))?)?;
        x = trajectory.start.apply_mask(x, (index + 1 < trajectory.steps).then_some(next))?;
        trajectory.report(index + 1, &x, &denoised)?;
    }
    Ok(x)
}
