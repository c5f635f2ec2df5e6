//! Euler steps along the probability-flow ODE dx/dσ = (x − x₀)/σ (Karras et al. 2022, without churn; diffusers'
//! `EulerDiscreteScheduler`).

use candle_core::Tensor;

use super::{Estimate, Grid, Method, Noise, Plan, sigmas::Sigmas};
use crate::Result;

pub(super) struct Euler {
    sigmas: Vec<f64>,
}

impl Method for Euler {
    fn new(Grid { noise_schedule, steps, .. }: Grid<'_>, _: &mut Noise<'_>) -> Result<(Plan, Self)> {
        let sigmas = Sigmas::unscaled(noise_schedule, steps, noise_schedule.config.final_sigmas_type);
        Ok((sigmas.unscaled_plan(), Self { sigmas: sigmas.sigmas }))
    }

    fn advance(&mut self, step: usize, x: &Tensor, estimate: &Estimate, _: &mut Noise<'_>) -> Result<Tensor> {
        let (sigma, next) = (self.sigmas[step], self.sigmas[step + 1]);
        let derivative = ((x - &estimate.denoised)? / sigma)?;
        Ok((x + (derivative * (next - sigma))?)?)
    }
}
