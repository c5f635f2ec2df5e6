//! DDIM with η = 0 (Song et al. 2020, equation 12).

use candle_core::Tensor;

use super::{NoiseLevel, Trajectory, schedule::Spacing};
use crate::Result;

pub(super) fn sample(trajectory: &mut Trajectory<'_>) -> Result<Tensor> {
    let schedule = trajectory.schedule;
    let config = &schedule.config;
    let final_alpha_bar = match config.set_alpha_to_one.unwrap_or(true) {
        true => 1.0,
        false => schedule.alpha_bar(0, 1.0),
    };
    let stride = (schedule.len() / trajectory.steps) as i64;
    let level =
        |timestep: f64| NoiseLevel::from_alpha_bar(schedule.alpha_bar(timestep as i64, final_alpha_bar));
    let timesteps: Vec<f64> = schedule
        .timesteps(trajectory.steps, Spacing::Leading)
        .into_iter()
        .map(f64::round_ties_even)
        .collect();
    let mut x = trajectory.start.initial_latent_scaled(level(timesteps[trajectory.start.skip]))?;
    for (index, timestep) in timesteps.iter().copied().enumerate().skip(trajectory.start.skip) {
        let here = level(timestep);
        let next = NoiseLevel::from_alpha_bar(schedule.alpha_bar(timestep as i64 - stride, final_alpha_bar));
        let prediction = trajectory.predict(&x, timestep)?;
        let denoised = trajectory.clipped(here.denoised(config.prediction_type, &x, &prediction)?, true)?;
        let epsilon = here.epsilon(config.prediction_type, &x, &prediction)?;
        x = ((&denoised * next.alpha)? + (epsilon * next.sigma)?)?;
        x = trajectory.start.apply_mask_scaled(x, timesteps.get(index + 1).map(|next| level(*next)))?;
        trajectory.report(index + 1, &x, &denoised)?;
    }
    Ok(x)
}
