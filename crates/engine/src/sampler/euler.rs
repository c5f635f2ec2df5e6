//! Euler steps along the probability-flow ODE dx/dσ = (x − x₀)/σ (Karras et al. 2022, without churn).

use candle_core::Tensor;

use super::{Run, sigmas::Sigmas};
use crate::Result;

pub(super) fn sample(run: &mut Run<'_>) -> Result<Tensor> {
    let last = run.schedule.config.final_sigmas_type;
    let Sigmas { timesteps, sigmas, start_scale } = Sigmas::unscaled(run.schedule, run.steps, last);
    let mut x = run.start.begin(sigmas[run.start.skip], start_scale)?;
    for (index, timestep) in timesteps.into_iter().enumerate().skip(run.start.skip) {
        let (sigma, next) = (sigmas[index], sigmas[index + 1]);
        let denoised = run.denoise(&x, sigma, timestep)?;
        let derivative = ((&x - &denoised)? / sigma)?;
        x = (&x + (derivative * (next - sigma))?)?;
        x = run.start.keep(x, (index + 1 < run.steps).then_some(next))?;
        run.report(index + 1, &x, &denoised)?;
    }
    Ok(x)
}
