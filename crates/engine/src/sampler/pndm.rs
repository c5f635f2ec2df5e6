//! PNDM without Runge-Kutta warm-up, also called PLMS: a linear multistep method over ε (Liu et al. 2022,
//! equations 9 and 12), as SD 1.5's own scheduler does it.

use candle_core::Tensor;

use super::{
    NoiseLevel, PredictionType, Trajectory,
    schedule::{MIN_ALPHA_BAR, Spacing},
};
use crate::Result;

pub(super) fn sample(trajectory: &mut Trajectory<'_>) -> Result<Tensor> {
    let schedule = trajectory.schedule;
    let config = &schedule.config;
    let final_alpha_bar = match config.set_alpha_to_one.unwrap_or(false) {
        true => 1.0,
        false => schedule.alpha_bar(0, 1.0),
    };
    let stride = (schedule.len() / trajectory.steps) as i64;
    let kind = config.prediction_type;
    let mut timesteps: Vec<i64> = schedule
        .timesteps(trajectory.steps, Spacing::Leading)
        .into_iter()
        .map(|t| t.round_ties_even() as i64)
        .collect();
    // The first step is taken twice: the second call corrects it with what the model says at its end.
    if let Some(second) = timesteps.get(1).copied() {
        timesteps.insert(1, second);
    }

    // As diffusers cuts the list, the repeated timestep counted: from the third step on, a trajectory that begins in
    // the middle has no repeated one, and its correction moves every later call by a step.
    timesteps.drain(..trajectory.start.skip);

    let level = |timestep: i64| NoiseLevel::from_alpha_bar(schedule.alpha_bar(timestep, final_alpha_bar));
    let mut history: Vec<Tensor> = Vec::with_capacity(4);
    let begin = trajectory.start.initial_latent_scaled(level(timesteps[0]))?;
    let mut x = begin.clone();
    for (call, timestep) in timesteps.iter().copied().enumerate() {
        let mut prediction = trajectory.predict(&x, timestep as f64)?;
        let denoised = level(timestep).denoised(kind, &x, &prediction)?;
        if kind == PredictionType::Sample {
            prediction = level(timestep).epsilon(kind, &x, &prediction)?;
        }
        let (from, to) =
            if call == 1 { (timestep + stride, timestep) } else { (timestep, timestep - stride) };
        if call != 1 {
            if history.len() == 4 {
                history.remove(0);
            }
            history.push(prediction.clone());
        }
        let combined = match (call, history.as_slice()) {
            (1, [e1]) => {
                x = begin.clone();
                ((&prediction + e1)? / 2.0)?
            }
            (_, [.., e4, e3, e2, e1]) => {
                ((((e1 * 55.0)? - (e2 * 59.0)?)? + ((e3 * 37.0)? - (e4 * 9.0)?)?)? / 24.0)?
            }
            (_, [e3, e2, e1]) => ((((e1 * 23.0)? - (e2 * 16.0)?)? + (e3 * 5.0)?)? / 12.0)?,
            (_, [e2, e1]) => (((e1 * 3.0)? - e2)? / 2.0)?,
            _ => prediction,
        };
        let (from, to) = (schedule.alpha_bar(from, final_alpha_bar), schedule.alpha_bar(to, final_alpha_bar));
        let epsilon = match kind {
            PredictionType::Epsilon | PredictionType::Sample => combined,
            PredictionType::VPrediction => NoiseLevel::from_alpha_bar(from).epsilon(kind, &x, &combined)?,
        };
        x = transfer(&x, &epsilon, from, to)?;
        x = trajectory.start.apply_mask_scaled(x, timesteps.get(call + 1).map(|next| level(*next)))?;
        // The first step is done once it has been corrected.
        if call > 0 || trajectory.steps == 1 {
            trajectory.report(trajectory.start.skip + call.max(1), &x, &denoised)?;
        }
    }
    Ok(x)
}

/// Equation 9: the point at ᾱ `to`, from `x` at ᾱ `from` and the noise in it.
fn transfer(x: &Tensor, epsilon: &Tensor, from: f64, to: f64) -> Result<Tensor> {
    let from = from.max(MIN_ALPHA_BAR);
    let scale = (to / from).sqrt();
    let denominator = from * (1.0 - to).sqrt() + (from * (1.0 - from) * to).sqrt();
    Ok(((x * scale)? - (epsilon * ((to - from) / denominator))?)?)
}
