//! Heun steps along the probability-flow ODE dx/dσ = (x − x₀)/σ (Karras et al. 2022, algorithm 1; diffusers'
//! `HeunDiscreteScheduler`): an Euler step, then the mean of the slopes at its two ends. The last step ends at σ = 0,
//! where the slope is undefined, and stays Euler's.

use candle_core::Tensor;

use super::{Estimate, Grid, Method, Noise, Plan, driver::Call, schedule::FinalSigma, sigmas::Sigmas};
use crate::Result;

pub(super) struct Heun {
    sigmas: Vec<f64>,
    /// Within a step: the latent at its start, and the slope there.
    begun: Option<(Tensor, Tensor)>,
}

impl Method for Heun {
    fn new(Grid { noise_schedule, steps, .. }: Grid<'_>, _: &mut Noise<'_>) -> Result<(Plan, Self)> {
        let sigmas = Sigmas::unscaled(noise_schedule, steps, FinalSigma::Zero);
        let each = sigmas.unscaled_plan();
        let mut calls = Vec::with_capacity(2 * steps);
        for (index, first) in each.calls.iter().enumerate() {
            match each.calls.get(index + 1) {
                Some(second) => {
                    calls.push(Call { done: None, ..*first });
                    calls.push(Call { next: first.next, step: index, done: first.done, ..*second });
                }
                None => calls.push(*first),
            }
        }
        let plan = Plan { calls, clip_default: Some(false), ..each };
        Ok((plan, Self { sigmas: sigmas.sigmas, begun: None }))
    }

    fn advance(&mut self, step: usize, x: &Tensor, estimate: &Estimate, _: &mut Noise<'_>) -> Result<Tensor> {
        let (sigma, next) = (self.sigmas[step], self.sigmas[step + 1]);
        match self.begun.take() {
            None => {
                let slope = ((x - &estimate.denoised)? / sigma)?;
                let predicted = (x + (&slope * (next - sigma))?)?;
                if step + 2 < self.sigmas.len() {
                    self.begun = Some((x.clone(), slope));
                }
                Ok(predicted)
            }
            Some((start, slope)) => {
                let slope = ((slope + ((x - &estimate.denoised)? / next)?)? / 2.0)?;
                Ok((start + (slope * (next - sigma))?)?)
            }
        }
    }
}
