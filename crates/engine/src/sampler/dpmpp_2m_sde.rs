//! The stochastic form of DPM-Solver++ (2M), midpoint, on Karras sigmas (diffusers' `sde-dpmsolver++`): each step
//! goes twice as far in λ, and fresh noise brings it back up.

use candle_core::Tensor;

use super::{
    Level, Run,
    dpmpp_2m::{log_snr_step, second_order},
    sigmas::Sigmas,
};
use crate::Result;

pub(super) fn sample_karras(run: &mut Run<'_>) -> Result<Tensor> {
    let Sigmas { timesteps, sigmas, .. } = Sigmas::multistep_karras(run.schedule, run.steps);
    let mut x = run.start.begin_scaled(Level::from_sigma(sigmas[run.start.skip]))?;
    let mut previous: Option<Tensor> = None;
    for (index, timestep) in timesteps.into_iter().enumerate().skip(run.start.skip) {
        let (here, next) = (Level::from_sigma(sigmas[index]), Level::from_sigma(sigmas[index + 1]));
        let denoised = run.denoise_scaled(&x, here, timestep)?;
        // Drawn at the last step too, where it counts for nothing: the generator's state is part of the result.
        let noise = run.fresh_noise()?;
        let direction = match (previous.take(), second_order(&sigmas, index)) {
            (Some(previous), Some(weight)) => (&denoised + ((&denoised - previous)? * weight)?)?,
            _ => denoised.clone(),
        };
        let h = log_snr_step(&sigmas, index);
        // 1 − e⁻²ʰ, the share of the variance that is new.
        let fresh = -(-2.0 * h).exp_m1();
        x = ((x * (next.sigma / here.sigma * (-h).exp()))? + (direction * (next.alpha * fresh))?)?;
        x = (x + (noise * (next.sigma * fresh.max(0.0).sqrt()))?)?;
        x = run.start.keep_scaled(x, (index + 1 < run.steps).then_some(next))?;
        run.report(index + 1, &x, &denoised)?;
        previous = Some(denoised);
    }
    Ok(x)
}
