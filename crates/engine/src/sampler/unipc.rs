//! UniPC of order 2 with B₂(h) = eʰ − 1, predicting x₀ (Zhao et al. 2023, algorithms 5 to 8;
//! diffusers' `UniPCMultistepScheduler`): each step first
//! corrects where the one before has led, with the model's word on that point, and then predicts the next.

use adire_protocol::Schedule;
use candle_core::Tensor;

use super::{Estimate, Grid, Method, Noise, NoiseLevel, Plan, sigmas::Sigmas};
use crate::Result;

pub(super) struct UniPc {
    sigmas: Vec<f64>,
    past: Option<Past>,
}

/// What the step before has left.
struct Past {
    /// Where its prediction started from.
    start: Tensor,
    /// The estimate there.
    estimate: Tensor,
    /// The estimate one step earlier.
    before: Option<Tensor>,
}

impl Method for UniPc {
    fn new(Grid { noise_schedule, steps, .. }: Grid<'_>, _: &mut Noise<'_>) -> Result<(Plan, Self)> {
        let sigmas = Sigmas::multistep(noise_schedule, Schedule::Normal, steps);
        Ok((sigmas.plan(), Self { sigmas: sigmas.sigmas, past: None }))
    }

    fn advance(&mut self, step: usize, x: &Tensor, estimate: &Estimate, _: &mut Noise<'_>) -> Result<Tensor> {
        let denoised = &estimate.denoised;
        let (mut start, mut older) = (x.clone(), None);
        if let Some(past) = self.past.take() {
            let before = StepCoefficients::new(&self.sigmas, step - 1);
            let corrected = before.correct(&past.start, &past.estimate, past.before.as_ref(), denoised)?;
            start = corrected.unwrap_or(start);
            older = Some(past.estimate);
        }
        // The last step is of first order.
        let second = older.as_ref().filter(|_| step + 2 < self.sigmas.len());
        let next = StepCoefficients::new(&self.sigmas, step).predict(&start, denoised, second)?;
        self.past = Some(Past { start, estimate: denoised.clone(), before: older });
        Ok(next)
    }
}

/// Coefficients of one UniPC step.
struct StepCoefficients {
    /// σ' / σ, the factor of x.
    keep: f64,
    /// α'·(1 − e⁻ʰ), the factor of x₀ and of every correction of it: −α'·B(h).
    gain: f64,
    /// Difference of λ = log(α/σ).
    h: f64,
    /// Where the estimate before lies: its difference of λ over h, negative.
    ratio: Option<f64>,
}

impl StepCoefficients {
    fn new(sigmas: &[f64], index: usize) -> Self {
        let (here, next) = (NoiseLevel::from_sigma(sigmas[index]), NoiseLevel::from_sigma(sigmas[index + 1]));
        let h = (sigmas[index] / sigmas[index + 1]).ln();
        // Equal timesteps (more steps than the schedule can tell apart) have no slope between them.
        let ratio = index
            .checked_sub(1)
            .map(|before| -(sigmas[before] / sigmas[index]).ln() / h)
            .filter(|ratio| *ratio < 0.0 && ratio.is_finite());
        Self { keep: next.sigma / here.sigma, gain: -next.alpha * (-h).exp_m1(), h, ratio }
    }

    fn first_order(&self, x: &Tensor, estimate: &Tensor) -> Result<Tensor> {
        Ok(((x * self.keep)? + (estimate * self.gain)?)?)
    }

    /// UniP: from `x` with its estimate, and the estimate before where the order is 2.
    fn predict(&self, x: &Tensor, estimate: &Tensor, before: Option<&Tensor>) -> Result<Tensor> {
        let next = self.first_order(x, estimate)?;
        match (before, self.ratio) {
            (Some(before), Some(ratio)) => Ok((next + ((before - estimate)? * (0.5 * self.gain / ratio))?)?),
            _ => Ok(next),
        }
    }

    /// UniC: the end of the step again, now that the model has given its estimate there. `None` where the step
    /// has no length.
    fn correct(
        &self,
        x: &Tensor,
        estimate: &Tensor,
        before: Option<&Tensor>,
        at_end: &Tensor,
    ) -> Result<Option<Tensor>> {
        if self.h <= 0.0 {
            return Ok(None);
        }
        let next = self.first_order(x, estimate)?;
        let new = (at_end - estimate)?;
        let (Some(before), Some(ratio)) = (before, self.ratio) else {
            return Ok(Some((next + (new * (0.5 * self.gain))?)?));
        };
        // ρ₁ + ρ₂ = φ₁ and r·ρ₁ + ρ₂ = φ₂ (equation 5, p = 2), with hφₖ over B(h).
        let hh = -self.h;
        let growth = hh.exp_m1();
        let phi = growth / hh - 1.0;
        let (first, second) = (phi / growth, (phi / hh - 0.5) * 2.0 / growth);
        let old_weight = (first - second) / (1.0 - ratio);
        let new_weight = first - old_weight;
        let old = ((before - estimate)? * (old_weight * self.gain / ratio))?;
        Ok(Some(((next + old)? + (new * (new_weight * self.gain))?)?))
    }
}
