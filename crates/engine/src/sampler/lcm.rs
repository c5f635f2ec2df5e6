//! Multistep sampling of latent consistency models (Luo et al. 2023, algorithm 3; diffusers' `LCMScheduler`): each call
//! goes all the way to a clean latent, and fresh noise takes it back to the next timestep.

use candle_core::Tensor;

use super::{Estimate, Grid, Method, Noise, NoiseLevel, NoiseSchedule, Plan};
use crate::{EngineError, Result};

/// σ_data of the boundary condition.
const SIGMA_DATA: f64 = 0.5;

pub(super) struct Lcm {
    timesteps: Vec<f64>,
    levels: Vec<NoiseLevel>,
    timestep_scaling: f64,
}

impl Method for Lcm {
    fn new(Grid { noise_schedule, steps, .. }: Grid<'_>, _: &mut Noise<'_>) -> Result<(Plan, Self)> {
        let timesteps = timesteps(noise_schedule, steps)?;
        let level =
            |timestep: &usize| NoiseLevel::from_alpha_bar(noise_schedule.alpha_bar(*timestep as i64, 1.0));
        let levels: Vec<_> = timesteps.iter().map(level).collect();
        let timesteps: Vec<f64> = timesteps.into_iter().map(|timestep| timestep as f64).collect();
        let plan = Plan { clip_default: Some(false), ..Plan::new(&timesteps, &levels) };
        Ok((plan, Self { timesteps, levels, timestep_scaling: noise_schedule.config.timestep_scaling }))
    }

    /// The boundary condition of consistency models.
    fn refine(&self, step: usize, x: &Tensor, denoised: Tensor) -> Result<Tensor> {
        let scaled = self.timesteps[step] * self.timestep_scaling;
        let spread = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        let (keep, take) = (SIGMA_DATA * SIGMA_DATA / spread, scaled / spread.sqrt());
        Ok(((denoised * take)? + (x * keep)?)?)
    }

    fn advance(
        &mut self,
        step: usize,
        _: &Tensor,
        estimate: &Estimate,
        noise: &mut Noise<'_>,
    ) -> Result<Tensor> {
        match self.levels.get(step + 1) {
            Some(NoiseLevel { alpha, sigma }) => {
                Ok(((&estimate.denoised * *alpha)? + (noise.draw()? * *sigma)?)?)
            }
            None => Ok(estimate.denoised.clone()),
        }
    }
}

/// Evenly spaced ones of those that the model was distilled on.
fn timesteps(schedule: &NoiseSchedule, steps: usize) -> Result<Vec<usize>> {
    let train = schedule.len();
    // A schedule shorter than the usual 50 gives what it has.
    let original = schedule.config.original_inference_steps.min(train);
    if steps > original {
        return Err(EngineError::Request(format!("steps must be 1 to {original} with LCM; got {steps}")));
    }
    let apart = train / original;
    let stride = original as f64 / steps as f64;
    // Counted from the noisiest.
    Ok((0..steps).map(|i| (original - (i as f64 * stride) as usize) * apart - 1).collect())
}
