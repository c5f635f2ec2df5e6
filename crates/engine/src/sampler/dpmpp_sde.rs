//! The stochastic DPM-Solver++ of k-diffusion (`sample_dpmpp_sde`, η = 1, r = ½): a step to the middle in log σ,
//! a second call of the model there, then the whole step with that estimate.
//!
//! Both halves get noise of the same Brownian motion, seeded with the image's seed: diffusers'
//! `DPMSolverSDEScheduler` with `noise_sampler_seed`, A1111's seeds. Nothing is drawn from the source of the
//! starting noise.

use candle_core::Tensor;

use super::{Estimate, Grid, Method, Noise, NoiseLevel, NoiseSchedule, Plan, driver::Call, sigmas::Sigmas};
use crate::{BrownianNoise, Result};

pub(super) struct DpmppSde {
    sigmas: Vec<f64>,
    /// σ in the middle of every step but the last.
    middles: Vec<f32>,
    noise: BrownianNoise,
    /// Within a step: the latent at its start.
    begun: Option<Tensor>,
}

impl Method for DpmppSde {
    fn new(
        Grid { noise_schedule, schedule, steps }: Grid<'_>,
        noise: &mut Noise<'_>,
    ) -> Result<(Plan, Self)> {
        let sigmas = Sigmas::unscaled_sde(noise_schedule, schedule, steps);
        let midpoints = sigmas.midpoints(noise_schedule);
        let each = sigmas.unscaled_plan();
        let mut calls = Vec::with_capacity(2 * steps);
        for (index, first) in each.calls.iter().enumerate() {
            match midpoints.get(index) {
                // What a mask keeps gets the noise of the step's end after either call, as in diffusers.
                Some((timestep, middle)) => {
                    let level = NoiseLevel::unscaled(f64::from(*middle));
                    calls.push(Call { done: None, ..*first });
                    calls.push(Call { timestep: *timestep, level, ..*first });
                }
                None => calls.push(*first),
            }
        }
        let brownian =
            noise.source.brownian(sigmas.sigmas[steps - 1] as f32, sigmas.sigmas[0] as f32, noise.shape)?;
        let middles = midpoints.into_iter().map(|(_, middle)| middle).collect();
        let method = Self { sigmas: sigmas.sigmas, middles, noise: brownian, begun: None };
        Ok((Plan { calls, ..each }, method))
    }

    fn advance(&mut self, step: usize, x: &Tensor, estimate: &Estimate, _: &mut Noise<'_>) -> Result<Tensor> {
        // The step to σ = 0 is Euler's.
        let Some(middle) = self.middles.get(step) else { return Ok(estimate.denoised.clone()) };
        // Back and forth through log σ in f32, as the reference does: the Brownian motion is looked up at exactly
        // these points.
        let (from, to) = (exp(ln(self.sigmas[step])), exp(ln(self.sigmas[step + 1])));
        match self.begun.take() {
            None => {
                self.begun = Some(x.clone());
                advance(x, &estimate.denoised, from, *middle, &self.noise)
            }
            Some(start) => advance(&start, &estimate.denoised, from, to, &self.noise),
        }
    }
}

/// From σ `from` to `to`: down to `down` on the ODE's exponential integrator, and up again by noise.
fn advance(x: &Tensor, denoised: &Tensor, from: f32, to: f32, noise: &BrownianNoise) -> Result<Tensor> {
    let fresh = noise.between(from, to, x.device())?;
    let (from, to) = (f64::from(from), f64::from(to));
    let up = (to * to * (from * from - to * to).max(0.0) / (from * from)).sqrt().min(to);
    let down = (to * to - up * up).sqrt();
    Ok((((x * (down / from))? + (denoised * (1.0 - down / from))?)? + (fresh * up)?)?)
}

impl Sigmas {
    /// Timestep and σ in the middle, in log σ, of every step but the last.
    fn midpoints(&self, schedule: &NoiseSchedule) -> Vec<(f64, f32)> {
        let train_sigmas = schedule.train_sigmas();
        let between = |pair: &[f64]| {
            let (t, next) = (-ln(pair[0]), -ln(pair[1]));
            let sigma = (pair[0].ln() + 0.5 * (pair[1].ln() - pair[0].ln())).exp();
            let timestep = NoiseSchedule::timestep_of(&train_sigmas, sigma);
            (timestep, exp(-(t + (next - t) * 0.5)))
        };
        self.sigmas[..self.timesteps.len()].windows(2).map(between).collect()
    }
}

fn ln(x: f64) -> f32 {
    x.ln() as f32
}

fn exp(x: f32) -> f32 {
    f64::from(x).exp() as f32
}
