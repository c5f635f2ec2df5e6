//! The stochastic DPM-Solver++ of k-diffusion (`sample_dpmpp_sde`, η = 1, r = ½): a step to the middle in log σ,
//! a second call of the model there, then the whole step with that estimate.
//!
//! Both halves get noise of the same Brownian motion, seeded with the image's seed: diffusers'
//! `DPMSolverSDEScheduler` with `noise_sampler_seed`, A1111's seeds. Nothing is drawn from the source of the
//! starting noise.

use candle_core::Tensor;

use super::{Trajectory, sigmas::Sigmas};
use crate::{BrownianNoise, Result};

/// On the sigmas of training.
pub(super) fn sample(trajectory: &mut Trajectory<'_>) -> Result<Tensor> {
    let sigmas = Sigmas::unscaled_sde(trajectory.schedule, trajectory.steps, false);
    integrate(trajectory, sigmas)
}

/// On Karras sigmas.
pub(super) fn sample_karras(trajectory: &mut Trajectory<'_>) -> Result<Tensor> {
    let sigmas = Sigmas::unscaled_sde(trajectory.schedule, trajectory.steps, true);
    integrate(trajectory, sigmas)
}

fn integrate(trajectory: &mut Trajectory<'_>, sigmas: Sigmas) -> Result<Tensor> {
    let midpoints = sigmas.midpoints(trajectory.schedule);
    let Sigmas { timesteps, sigmas, start_scale } = sigmas;
    let mut x = trajectory.start.initial_latent(sigmas[trajectory.start.skip], start_scale)?;
    let noise = trajectory.noise.brownian(
        sigmas[trajectory.steps - 1] as f32,
        sigmas[0] as f32,
        trajectory.start.noise.dims(),
    )?;
    for (index, timestep) in timesteps.into_iter().enumerate().skip(trajectory.start.skip) {
        let (sigma, next) = (sigmas[index], sigmas[index + 1]);
        let mut denoised = trajectory.denoise(&x, sigma, timestep)?;
        x = match midpoints.get(index) {
            Some((middle_timestep, middle)) => {
                // Back and forth through log σ in f32, as the reference does: the Brownian motion is looked up
                // at exactly these points.
                let (from, to) = (exp(ln(sigma)), exp(ln(next)));
                let halfway = advance(&x, &denoised, from, *middle, &noise)?;
                // As in diffusers with the noise of the end, not of the middle.
                let halfway = trajectory.start.apply_mask(halfway, Some(next))?;
                denoised = trajectory.denoise(&halfway, f64::from(*middle), *middle_timestep)?;
                advance(&x, &denoised, from, to, &noise)?
            }
            // The step to σ = 0 is Euler's.
            None => denoised.clone(),
        };
        x = trajectory.start.apply_mask(x, (index + 1 < trajectory.steps).then_some(next))?;
        trajectory.report(index + 1, &x, &denoised)?;
    }
    Ok(x)
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
    fn midpoints(&self, schedule: &super::NoiseSchedule) -> Vec<(f64, f32)> {
        let train_sigmas = schedule.train_sigmas();
        let between = |pair: &[f64]| {
            let (t, next) = (-ln(pair[0]), -ln(pair[1]));
            let sigma = (pair[0].ln() + 0.5 * (pair[1].ln() - pair[0].ln())).exp();
            let timestep = super::NoiseSchedule::timestep_of(&train_sigmas, sigma);
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
