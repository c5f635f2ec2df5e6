//! Heun steps along the probability-flow ODE dx/dσ = (x − x₀)/σ (Karras et al. 2022, algorithm 1): an Euler step,
//! then the mean of the slopes at its two ends. The last step ends at σ = 0, where there is no slope, and stays
//! Euler's.

use candle_core::Tensor;

use super::{Run, schedule::FinalSigma, sigmas::Sigmas};
use crate::Result;

pub(super) fn sample(run: &mut Run<'_>) -> Result<Tensor> {
    let Sigmas { timesteps, sigmas, start_scale } =
        Sigmas::unscaled(run.schedule, run.steps, FinalSigma::Zero);
    let mut x = run.start.begin(sigmas[run.start.skip], start_scale)?;
    for (index, timestep) in timesteps.iter().enumerate().skip(run.start.skip) {
        let (sigma, next) = (sigmas[index], sigmas[index + 1]);
        let estimate = run.denoise(&x, sigma, *timestep)?;
        let mut denoised = run.clipped(estimate, false)?;
        let mut slope = ((&x - &denoised)? / sigma)?;
        let predicted = (&x + (&slope * (next - sigma))?)?;
        let has_slope = index + 1 < run.steps;
        let predicted = run.start.keep(predicted, has_slope.then_some(next))?;
        x = match timesteps.get(index + 1) {
            Some(next_timestep) => {
                let estimate = run.denoise(&predicted, next, *next_timestep)?;
                denoised = run.clipped(estimate, false)?;
                slope = ((slope + ((predicted - &denoised)? / next)?)? / 2.0)?;
                run.start.keep((x + (slope * (next - sigma))?)?, Some(next))?
            }
            None => predicted,
        };
        run.report(index + 1, &x, &denoised)?;
    }
    Ok(x)
}
