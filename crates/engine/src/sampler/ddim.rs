//! DDIM with η = 0 (Song et al. 2020, equation 12).

use candle_core::Tensor;

use super::{Level, Run, schedule::Spacing};
use crate::Result;

pub(super) fn sample(run: &mut Run<'_>) -> Result<Tensor> {
    let schedule = run.schedule;
    let config = &schedule.config;
    let final_alpha_bar = match config.set_alpha_to_one.unwrap_or(true) {
        true => 1.0,
        false => schedule.alpha_bar(0, 1.0),
    };
    let stride = (schedule.len() / run.steps) as i64;
    let level = |timestep: f64| Level::from_alpha_bar(schedule.alpha_bar(timestep as i64, final_alpha_bar));
    let timesteps: Vec<f64> =
        schedule.timesteps(run.steps, Spacing::Leading).into_iter().map(f64::round_ties_even).collect();
    let mut x = run.start.begin_scaled(level(timesteps[run.start.skip]))?;
    for (index, timestep) in timesteps.iter().copied().enumerate().skip(run.start.skip) {
        let here = level(timestep);
        let next = Level::from_alpha_bar(schedule.alpha_bar(timestep as i64 - stride, final_alpha_bar));
        let prediction = run.predict(&x, timestep)?;
        let denoised = run.clipped(here.denoised(config.prediction_type, &x, &prediction)?, true)?;
        let epsilon = here.epsilon(config.prediction_type, &x, &prediction)?;
        x = ((&denoised * next.alpha)? + (epsilon * next.sigma)?)?;
        x = run.start.keep_scaled(x, timesteps.get(index + 1).map(|next| level(*next)))?;
        run.report(index + 1, &x, &denoised)?;
    }
    Ok(x)
}
