//! Drives a sampler along its trajectory: calls the model, skips steps, restores what a mask keeps, reports progress.

use std::ops::ControlFlow;

use adire_protocol::Schedule;
use candle_core::{DType, Device, Tensor};

use super::{NoiseLevel, NoiseSchedule, PredictionType, SampleStep, Start};
use crate::{EngineError, NoiseSource, Result};

/// One call of the model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) timestep: f64,
    /// Noise level of the latent that goes in.
    pub(super) level: NoiseLevel,
    /// Noise level to which what a mask keeps is restored afterwards; `None`: no noise.
    pub(super) next: Option<NoiseLevel>,
    /// Step that it belongs to, from 0: left out when that many steps are skipped, or more.
    pub(super) step: usize,
    /// Number of steps that are done after it, if that is a change.
    pub(super) done: Option<usize>,
}

/// The calls of the model that a sampler makes.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) calls: Vec<Call>,
    /// For latents in k-diffusion's scale, x = x₀ + σ·ε: standard deviation of the first. `None`: variance is preserved.
    pub(super) start_scale: Option<f64>,
    /// Whether estimates of x₀ are clamped where the scheduler config does not say; `None`: never.
    pub(super) clip_default: Option<bool>,
}

impl Plan {
    /// One call for each step, at these timesteps and noise levels.
    pub(super) fn new(timesteps: &[f64], levels: &[NoiseLevel]) -> Self {
        let calls = timesteps.iter().zip(levels).enumerate().map(|(step, (timestep, level))| Call {
            timestep: *timestep,
            level: *level,
            next: levels.get(step + 1).filter(|_| step + 1 < timesteps.len()).copied(),
            step,
            done: Some(step + 1),
        });
        Self { calls: calls.collect(), start_scale: None, clip_default: None }
    }
}

/// What the model says at one call.
#[derive(Debug)]
pub(super) struct Estimate {
    /// The guided prediction, of the kind that the schedule says.
    pub(super) prediction: Tensor,
    /// Its estimate of x₀, clamped where the plan and the scheduler config say so.
    pub(super) denoised: Tensor,
    kind: PredictionType,
    level: NoiseLevel,
}

impl Estimate {
    /// Its estimate of ε at `x`, the latent of the call.
    pub(super) fn epsilon(&self, x: &Tensor) -> Result<Tensor> {
        self.level.epsilon(self.kind, x, &self.prediction)
    }
}

/// The source of fresh noise.
pub(super) struct Noise<'a> {
    pub(super) source: &'a mut NoiseSource,
    pub(super) shape: &'a [usize],
    pub(super) device: &'a Device,
}

impl Noise<'_> {
    /// Unit normal noise of the latent's shape.
    pub(super) fn draw(&mut self) -> Result<Tensor> {
        self.source.randn(self.shape, self.device)
    }
}

/// Where a trajectory leads along.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid<'a> {
    pub(super) noise_schedule: &'a NoiseSchedule,
    pub(super) schedule: Schedule,
    /// In total, with those that are skipped.
    pub(super) steps: usize,
}

/// A sampler: which calls of the model it makes, and what it does with their estimates.
pub(super) trait Method: Sized {
    /// The sampler at the start of a trajectory.
    ///
    /// # Errors
    /// It has a limit of its own on the number of steps.
    fn new(grid: Grid<'_>, noise: &mut Noise<'_>) -> Result<(Plan, Self)>;

    /// The estimate of x₀ that counts, from the model's estimate at the latent `x` of step `step`.
    ///
    /// # Errors
    /// A computation fails.
    fn refine(&self, _step: usize, _x: &Tensor, denoised: Tensor) -> Result<Tensor> {
        Ok(denoised)
    }

    /// The next latent, from the latent `x` of a call of step `step` (from 0) and the model's estimate there.
    fn advance(
        &mut self,
        step: usize,
        x: &Tensor,
        estimate: &Estimate,
        noise: &mut Noise<'_>,
    ) -> Result<Tensor>;
}

/// Everything around the sampler.
pub(super) struct Trajectory<'a> {
    pub(super) grid: Grid<'a>,
    pub(super) noise: Noise<'a>,
    pub(super) start: Start<'a>,
    pub(super) model: &'a mut dyn FnMut(&Tensor, f64) -> Result<Tensor>,
    pub(super) on_step: &'a mut dyn FnMut(SampleStep<'_>) -> ControlFlow<()>,
}

impl Trajectory<'_> {
    /// Runs the sampler's calls of the model, those of skipped steps excepted.
    pub(super) fn run<M: Method>(mut self) -> Result<Tensor> {
        let (mut plan, mut method) = M::new(self.grid, &mut self.noise)?;
        let skip = self.start.skip;
        plan.calls.retain(|call| call.step >= skip);
        // `sample` refuses to skip every step.
        let mut x = match plan.calls.first() {
            Some(first) => self.start.initial_latent(first.level, plan.start_scale)?,
            None => self.start.noise.clone(),
        };
        for call in &plan.calls {
            let mut estimate = self.estimate(&plan, call, &x)?;
            estimate.denoised = method.refine(call.step, &x, estimate.denoised)?;
            let next = method.advance(call.step, &x, &estimate, &mut self.noise)?;
            x = self.start.apply_mask(next, call.next)?;
            if let Some(done) = call.done.filter(|done| *done > skip) {
                self.report(done - skip, &x, &estimate.denoised)?;
            }
        }
        Ok(x)
    }

    fn estimate(&mut self, plan: &Plan, call: &Call, x: &Tensor) -> Result<Estimate> {
        let config = &self.grid.noise_schedule.config;
        let kind = config.prediction_type;
        // The model was trained with variance preserved.
        let (input, level) = match plan.start_scale {
            Some(_) => {
                let level = NoiseLevel::from_sigma(call.level.sigma);
                ((x * level.alpha)?, level)
            }
            None => (x.clone(), call.level),
        };
        let prediction = (self.model)(&input, call.timestep)?.to_dtype(DType::F32)?;
        let mut denoised = level.denoised(kind, &input, &prediction)?;
        if plan.clip_default.is_some_and(|default| config.clip_sample.unwrap_or(default)) {
            denoised = denoised.clamp(-config.clip_sample_range, config.clip_sample_range)?;
        }
        Ok(Estimate { prediction, denoised, kind, level })
    }

    /// Reports a step of those that are not skipped, counted from 1, as done.
    fn report(&mut self, step: usize, latent: &Tensor, denoised: &Tensor) -> Result<()> {
        let steps = self.grid.steps - self.start.skip;
        let denoised = &self.start.apply_mask(denoised.clone(), None)?;
        match (self.on_step)(SampleStep { step, steps, latent, denoised }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(EngineError::Cancelled),
        }
    }
}
