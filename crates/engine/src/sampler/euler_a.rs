//! Euler with ancestral noise: each step goes further down than the schedule asks, and fresh noise brings it
//! back up (k-diffusion's `sample_euler_ancestral`, η = 1).

use candle_core::Tensor;

use super::{Run, schedule::FinalSigma, sigmas::Sigmas};
use crate::Result;

pub(super) fn sample(run: &mut Run<'_>) -> Result<Tensor> {
    let Sigmas { timesteps, sigmas, start_scale } =
        Sigmas::unscaled(run.schedule, run.steps, FinalSigma::Zero);
    let mut x = run.start.begin(sigmas[run.start.skip], start_scale)?;
    for (index, timestep) in timesteps.into_iter().enumerate().skip(run.start.skip) {
        let (sigma, next) = (sigmas[index], sigmas[index + 1]);
        let denoised = run.denoise(&x, sigma, timestep)?;
        let up = (next * next * (sigma * sigma - next * next) / (sigma * sigma)).sqrt();
        let down = next * next / sigma;
        let derivative = ((&x - &denoised)? / sigma)?;
        x = (&x + (derivative * (down - sigma))?)?;
        // Drawn at the last step too, where it counts for nothing: the generator's state is part of the result.
        x = (x + (run.fresh_noise()? * up)?)?;
        x = run.start.keep(x, (index + 1 < run.steps).then_some(next))?;
        run.report(index + 1, &x, &denoised)?;
    }
    Ok(x)
}
