//! Multistep sampling of latent consistency models (Luo et al. 2023, algorithm 3): each call goes all the way to
//! a clean latent, and fresh noise takes it back to the next timestep.

use candle_core::Tensor;

use super::{NoiseLevel, Trajectory};
use crate::{EngineError, Result};

/// σ_data of the boundary condition.
const SIGMA_DATA: f64 = 0.5;

pub(super) fn sample(trajectory: &mut Trajectory<'_>) -> Result<Tensor> {
    let timesteps = timesteps(trajectory)?;
    let schedule = trajectory.schedule;
    let level = |timestep: usize| NoiseLevel::from_alpha_bar(schedule.alpha_bar(timestep as i64, 1.0));
    let mut x = trajectory.start.initial_latent_scaled(level(timesteps[trajectory.start.skip]))?;
    for (index, timestep) in timesteps.iter().enumerate().skip(trajectory.start.skip) {
        let estimate = trajectory.denoise_scaled(&x, level(*timestep), *timestep as f64)?;
        let estimate = trajectory.clipped(estimate, false)?;
        let scaled = *timestep as f64 * schedule.config.timestep_scaling;
        let spread = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        let (keep, take) = (SIGMA_DATA * SIGMA_DATA / spread, scaled / spread.sqrt());
        let denoised = ((estimate * take)? + (x * keep)?)?;
        x = match timesteps.get(index + 1) {
            Some(next) => {
                let NoiseLevel { alpha, sigma } = level(*next);
                ((&denoised * alpha)? + (trajectory.draw_noise()? * sigma)?)?
            }
            None => denoised.clone(),
        };
        x = trajectory.start.apply_mask_scaled(x, timesteps.get(index + 1).map(|next| level(*next)))?;
        trajectory.report(index + 1, &x, &denoised)?;
    }
    Ok(x)
}

/// Evenly spaced ones of those that the model was distilled on.
fn timesteps(trajectory: &Trajectory<'_>) -> Result<Vec<usize>> {
    let (steps, train) = (trajectory.steps, trajectory.schedule.len());
    // A schedule shorter than the usual 50 gives what it has.
    let original = trajectory.schedule.config.original_inference_steps.min(train);
    if steps > original {
        return Err(EngineError::Request(format!("steps must be 1 to {original} with LCM; got {steps}")));
    }
    let apart = train / original;
    let stride = original as f64 / steps as f64;
    // Counted from the noisiest.
    Ok((0..steps).map(|i| (original - (i as f64 * stride) as usize) * apart - 1).collect())
}
