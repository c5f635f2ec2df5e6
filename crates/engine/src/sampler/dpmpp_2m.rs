//! DPM-Solver++ (2M), midpoint form (Lu et al. 2022, algorithm 2), on Karras sigmas.
//!
//! The first and the last step are of first order: there is no second estimate yet, and none is of use when the
//! step ends at σ = 0.

use candle_core::Tensor;

use super::{
    Level, Run,
    schedule::{BetaSchedule, NoiseSchedule, karras_sigmas},
};
use crate::Result;

pub(super) fn sample(run: &mut Run<'_>) -> Result<Tensor> {
    let train_sigmas = run.schedule.train_sigmas();
    // diffusers keeps sigmas as f32 and makes these timesteps whole: rounded, but cut off for cosine schedules.
    let whole = match run.schedule.config.beta_schedule {
        BetaSchedule::SquaredCosine => f64::trunc,
        BetaSchedule::Linear | BetaSchedule::ScaledLinear => f64::round_ties_even,
    };
    let karras = karras_sigmas(&train_sigmas, run.steps);
    let timesteps: Vec<f64> =
        karras.iter().map(|sigma| whole(NoiseSchedule::timestep_of(&train_sigmas, *sigma))).collect();
    let sigmas: Vec<f64> = karras.iter().map(|sigma| f64::from(*sigma as f32)).chain([0.0]).collect();
    let kind = run.schedule.config.prediction_type;

    let mut x = run.start.clone();
    let mut previous: Option<Tensor> = None;
    for (index, timestep) in timesteps.into_iter().enumerate() {
        let (here, next) = (Level::from_sigma(sigmas[index]), Level::from_sigma(sigmas[index + 1]));
        let prediction = run.predict(&x, timestep)?;
        let denoised = here.denoised(kind, &x, &prediction)?;
        // λ = log(α/σ) = −log σ in k-diffusion's σ; h is infinite when the step ends at σ = 0.
        let h = (sigmas[index] / sigmas[index + 1]).ln();
        let direction = match previous.take() {
            Some(previous) if index + 1 < run.steps => {
                let ratio = (sigmas[index - 1] / sigmas[index]).ln() / h;
                (&denoised + ((&denoised - previous)? * (0.5 / ratio))?)?
            }
            _ => denoised.clone(),
        };
        x = ((x * (next.sigma / here.sigma))? - (direction * (next.alpha * (-h).exp_m1()))?)?;
        run.report(index + 1, &x, &denoised)?;
        previous = Some(denoised);
    }
    Ok(x)
}
