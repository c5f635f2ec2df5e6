//! PNDM without Runge-Kutta warm-up, also called PLMS: a linear multistep method over ε (Liu et al. 2022,
//! equations 9 and 12; diffusers' `PNDMScheduler` with `skip_prk_steps`), as SD 1.5's own scheduler does it.

use candle_core::Tensor;

use super::{
    Estimate, Grid, Method, Noise, NoiseLevel, Plan, PredictionType,
    schedule::{MIN_ALPHA_BAR, Spacing},
};
use crate::Result;

pub(super) struct Pndm {
    kind: PredictionType,
    /// ᾱ where each call is, and one stride before and after it.
    alpha_bars: Vec<AlphaBars>,
    /// Calls done.
    calls: usize,
    /// The latent of the first call.
    begin: Option<Tensor>,
    /// Up to four predictions, the newest last.
    history: Vec<Tensor>,
}

struct AlphaBars {
    noisier: f64,
    here: f64,
    cleaner: f64,
}

impl Method for Pndm {
    fn new(Grid { noise_schedule, steps, .. }: Grid<'_>, _: &mut Noise<'_>) -> Result<(Plan, Self)> {
        let final_alpha_bar = match noise_schedule.config.set_alpha_to_one.unwrap_or(false) {
            true => 1.0,
            false => noise_schedule.alpha_bar(0, 1.0),
        };
        let stride = (noise_schedule.len() / steps) as i64;
        let mut timesteps: Vec<f64> =
            noise_schedule.timesteps(steps, Spacing::Leading).into_iter().map(f64::round_ties_even).collect();
        // The first step is taken twice: the second call corrects it with what the model says at its end.
        if let Some(second) = timesteps.get(1).copied() {
            timesteps.insert(1, second);
        }
        let alpha_bar = |timestep: i64| noise_schedule.alpha_bar(timestep, final_alpha_bar);
        let around = |timestep: &f64| {
            let timestep = *timestep as i64;
            AlphaBars {
                noisier: alpha_bar(timestep + stride),
                here: alpha_bar(timestep),
                cleaner: alpha_bar(timestep - stride),
            }
        };
        let alpha_bars: Vec<_> = timesteps.iter().map(around).collect();
        let levels: Vec<_> = alpha_bars.iter().map(|at| NoiseLevel::from_alpha_bar(at.here)).collect();
        // As diffusers cuts the list of calls, the repeated one counted: from the third step on, a trajectory that
        // begins in the middle has no repeated one, and its correction moves every later call by a step.
        let mut plan = Plan::new(&timesteps, &levels);
        for (index, call) in plan.calls.iter_mut().enumerate().filter(|_| steps > 1) {
            // The first step is done once it has been corrected.
            call.done = Some(index).filter(|index| *index > 0);
        }
        let kind = noise_schedule.config.prediction_type;
        Ok((plan, Self { kind, alpha_bars, calls: 0, begin: None, history: Vec::with_capacity(4) }))
    }

    fn advance(&mut self, call: usize, x: &Tensor, estimate: &Estimate, _: &mut Noise<'_>) -> Result<Tensor> {
        let at = &self.alpha_bars[call];
        let correction = self.calls == 1;
        self.calls += 1;
        let prediction = match self.kind {
            PredictionType::Sample => estimate.epsilon(x)?,
            PredictionType::Epsilon | PredictionType::VPrediction => estimate.prediction.clone(),
        };
        let (from, to) = if correction { (at.noisier, at.here) } else { (at.here, at.cleaner) };
        if !correction {
            if self.history.len() == 4 {
                self.history.remove(0);
            }
            self.history.push(prediction.clone());
        }
        let begin = self.begin.get_or_insert_with(|| x.clone());
        let x = if correction { &*begin } else { x };
        let combined = match (correction, self.history.as_slice()) {
            (true, [e1]) => ((&prediction + e1)? / 2.0)?,
            (_, [.., e4, e3, e2, e1]) => {
                ((((e1 * 55.0)? - (e2 * 59.0)?)? + ((e3 * 37.0)? - (e4 * 9.0)?)?)? / 24.0)?
            }
            (_, [e3, e2, e1]) => ((((e1 * 23.0)? - (e2 * 16.0)?)? + (e3 * 5.0)?)? / 12.0)?,
            (_, [e2, e1]) => (((e1 * 3.0)? - e2)? / 2.0)?,
            _ => prediction,
        };
        let epsilon = match self.kind {
            PredictionType::Epsilon | PredictionType::Sample => combined,
            PredictionType::VPrediction => {
                NoiseLevel::from_alpha_bar(from).epsilon(self.kind, x, &combined)?
            }
        };
        transfer(x, &epsilon, from, to)
    }
}

/// Equation 9: the point at ᾱ `to`, from `x` at ᾱ `from` and the noise in it.
fn transfer(x: &Tensor, epsilon: &Tensor, from: f64, to: f64) -> Result<Tensor> {
    let from = from.max(MIN_ALPHA_BAR);
    let scale = (to / from).sqrt();
    let denominator = from * (1.0 - to).sqrt() + (from * (1.0 - from) * to).sqrt();
    Ok(((x * scale)? - (epsilon * ((to - from) / denominator))?)?)
}
