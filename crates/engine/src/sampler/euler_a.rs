//! Euler with ancestral noise: each step goes further down than the schedule asks, and fresh noise brings it
//! back up (k-diffusion's `sample_euler_ancestral`, η = 1).

use candle_core::Tensor;

use super::{Trajectory, schedule::FinalSigma, sigmas::Sigmas};
use crate::Result;

pub(super) fn sample(trajectory: &mut Trajectory<'_>) -> Result<Tensor> {
    let Sigmas { timesteps, sigmas, start_scale } =
        Sigmas::unscaled(trajectory.schedule, trajectory.steps, FinalSigma::Zero);
    let mut x = trajectory.start.initial_latent(sigmas[trajectory.start.skip], start_scale)?;
    for (index, timestep) in timesteps.into_iter().enumerate().skip(trajectory.start.skip) {
        let (sigma, next) = (sigmas[index], sigmas[index + 1]);
        let denoised = trajectory.denoise(&x, sigma, timestep)?;
        let up = (next * next * (sigma * sigma - next * next) / (sigma * sigma)).sqrt();
        let down = next * next / sigma;
        let derivative = ((&x - &denoised)? / sigma)?;
        x = (&x + (derivative * (down - sigma))?)?;
        // Drawn at the last step too, where it counts for nothing: the generator's state is part of the result.
        x = (x + (trajectory.draw_noise()? * up)?)?;
        x = trajectory.start.apply_mask(x, (index + 1 < trajectory.steps).then_some(next))?;
        trajectory.report(index + 1, &x, &denoised)?;
    }
    Ok(x)
}
