//! DDIM with η = 0 (Song et al. 2020, equation 12; diffusers' `DDIMScheduler`).

use candle_core::Tensor;

use super::{Estimate, Grid, Method, Noise, NoiseLevel, Plan, schedule::Spacing};
use crate::Result;

pub(super) struct Ddim {
    /// Where each step ends.
    ends: Vec<NoiseLevel>,
}

impl Method for Ddim {
    fn new(Grid { noise_schedule, steps, .. }: Grid<'_>, _: &mut Noise<'_>) -> Result<(Plan, Self)> {
        let final_alpha_bar = match noise_schedule.config.set_alpha_to_one.unwrap_or(true) {
            true => 1.0,
            false => noise_schedule.alpha_bar(0, 1.0),
        };
        let stride = (noise_schedule.len() / steps) as i64;
        let level =
            |timestep: i64| NoiseLevel::from_alpha_bar(noise_schedule.alpha_bar(timestep, final_alpha_bar));
        let timesteps: Vec<f64> =
            noise_schedule.timesteps(steps, Spacing::Leading).into_iter().map(f64::round_ties_even).collect();
        let levels: Vec<_> = timesteps.iter().map(|t| level(*t as i64)).collect();
        let ends = timesteps.iter().map(|t| level(*t as i64 - stride)).collect();
        Ok((Plan { clip_default: Some(true), ..Plan::new(&timesteps, &levels) }, Self { ends }))
    }

    fn advance(&mut self, step: usize, x: &Tensor, estimate: &Estimate, _: &mut Noise<'_>) -> Result<Tensor> {
        let end = self.ends[step];
        Ok(((&estimate.denoised * end.alpha)? + (estimate.epsilon(x)? * end.sigma)?)?)
    }
}
