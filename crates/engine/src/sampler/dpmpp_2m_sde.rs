//! The stochastic form of DPM-Solver++ (2M), midpoint (k-diffusion's `sample_dpmpp_2m_sde`; diffusers'
//! `DPMSolverMultistepScheduler` with `sde-dpmsolver++`): each step goes twice as far in λ, and fresh noise brings it
//! back up.

use candle_core::Tensor;

use super::{
    Estimate, Grid, Method, Noise, NoiseLevel, Plan,
    dpmpp_2m::{direction, log_snr_step, second_order},
    sigmas::Sigmas,
};
use crate::Result;

pub(super) struct Dpmpp2mSde {
    sigmas: Vec<f64>,
    /// The estimate of the step before.
    previous: Option<Tensor>,
}

impl Method for Dpmpp2mSde {
    fn new(Grid { noise_schedule, schedule, steps }: Grid<'_>, _: &mut Noise<'_>) -> Result<(Plan, Self)> {
        let sigmas = Sigmas::multistep(noise_schedule, schedule, steps);
        Ok((sigmas.plan(), Self { sigmas: sigmas.sigmas, previous: None }))
    }

    fn advance(
        &mut self,
        step: usize,
        x: &Tensor,
        estimate: &Estimate,
        noise: &mut Noise<'_>,
    ) -> Result<Tensor> {
        let sigmas = &self.sigmas;
        let (here, next) = (NoiseLevel::from_sigma(sigmas[step]), NoiseLevel::from_sigma(sigmas[step + 1]));
        // Drawn at the last step too, where it counts for nothing: the generator's state is part of the result.
        let noise = noise.draw()?;
        let direction = direction(&estimate.denoised, self.previous.take(), second_order(sigmas, step))?;
        let h = log_snr_step(sigmas, step);
        // 1 − e⁻²ʰ, the share of the variance that is new.
        let fresh = -(-2.0 * h).exp_m1();
        self.previous = Some(estimate.denoised.clone());
        let x = ((x * (next.sigma / here.sigma * (-h).exp()))? + (direction * (next.alpha * fresh))?)?;
        Ok((x + (noise * (next.sigma * fresh.max(0.0).sqrt()))?)?)
    }
}
