//! The stochastic form of DPM-Solver++ (2M), midpoint, on Karras sigmas (diffusers' `sde-dpmsolver++`): each step
//! goes twice as far in λ, and fresh noise brings it back up.

use candle_core::Tensor;

use super::{
    NoiseLevel, Trajectory,
    dpmpp_2m::{log_snr_step, second_order},
    sigmas::Sigmas,
};
use crate::Result;

pub(super) fn sample_karras(trajectory: &mut Trajectory<'_>) -> Result<Tensor> {
    let Sigmas { timesteps, sigmas, .. } = Sigmas::multistep_karras(trajectory.schedule, trajectory.steps);
    let mut x =
        trajectory.start.initial_latent_scaled(NoiseLevel::from_sigma(sigmas[trajectory.start.skip]))?;
    let mut previous: Option<Tensor> = None;
    for (index, timestep) in timesteps.into_iter().enumerate().skip(trajectory.start.skip) {
        let (here, next) = (NoiseLevel::from_sigma(sigmas[index]), NoiseLevel::from_sigma(sigmas[index + 1]));
        let denoised = trajectory.denoise_scaled(&x, here, timestep)?;
        // Drawn at the last step too, where it counts for nothing: the generator's state is part of the result.
        let noise = trajectory.draw_noise()?;
        let direction = match (previous.take(), second_order(&sigmas, index)) {
            (Some(previous), Some(weight)) => (&denoised + ((&denoised - previous)? * weight)?)?,
            _ => denoised.clone(),
        };
        let h = log_snr_step(&sigmas, index);
        // 1 − e⁻²ʰ, the share of the variance that is new.
        let fresh = -(-2.0 * h).exp_m1();
        x = ((x * (next.sigma / here.sigma * (-h).exp()))? + (direction * (next.alpha * fresh))?)?;
        x = (x + (noise * (next.sigma * fresh.max(0.0).sqrt()))?)?;
        x = trajectory.start.apply_mask_scaled(x, (index + 1 < trajectory.steps).then_some(next))?;
        trajectory.report(index + 1, &x, &denoised)?;
        previous = Some(denoised);
    }
    Ok(x)
}
