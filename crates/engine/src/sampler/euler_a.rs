//! Euler with ancestral noise: each step goes further down than the schedule asks, and fresh noise brings it
//! back up (k-diffusion's `sample_euler_ancestral`, η = 1; diffusers' `EulerAncestralDiscreteScheduler`).

use candle_core::Tensor;

use super::{Estimate, Grid, Method, Noise, Plan, schedule::FinalSigma, sigmas::Sigmas};
use crate::Result;

pub(super) struct EulerA {
    sigmas: Vec<f64>,
}

impl Method for EulerA {
    fn new(Grid { noise_schedule, steps, .. }: Grid<'_>, _: &mut Noise<'_>) -> Result<(Plan, Self)> {
        let sigmas = Sigmas::unscaled(noise_schedule, steps, FinalSigma::Zero);
        Ok((sigmas.unscaled_plan(), Self { sigmas: sigmas.sigmas }))
    }

    fn advance(
        &mut self,
        step: usize,
        x: &Tensor,
        estimate: &Estimate,
        noise: &mut Noise<'_>,
    ) -> Result<Tensor> {
        let (sigma, next) = (self.sigmas[step], self.sigmas[step + 1]);
        let up = (next * next * (sigma * sigma - next * next) / (sigma * sigma)).sqrt();
        let down = next * next / sigma;
        let derivative = ((x - &estimate.denoised)? / sigma)?;
        let x = (x + (derivative * (down - sigma))?)?;
        // Drawn at the last step too, where it counts for nothing: the generator's state is part of the result.
        Ok((x + (noise.draw()? * up)?)?)
    }
}
