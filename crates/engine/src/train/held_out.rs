//! Held-out loss: MSE over a fixed grid of (image, ε, t), so values compare between steps. No gradients; one grid
//! point per call.

use candle_core::{DType, Tensor};

use super::{
    data::Example,
    loss::Objective,
    rng::{RngStream, RunRng},
};
use crate::Result;

/// Timesteps per image: the midpoints of equal parts of the schedule.
const TIMESTEPS: usize = 8;

/// A held-out loss being computed. The factors must not change until it is done.
#[derive(Debug, Default)]
pub struct HeldOutLoss {
    done: usize,
    total: usize,
    sum: f64,
    /// Text context of the current image, [1, tokens, width].
    text: Option<Tensor>,
}

impl HeldOutLoss {
    pub(super) fn new(examples: usize) -> Self {
        Self { total: examples * TIMESTEPS, ..Self::default() }
    }

    /// Grid points done.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Grid points in total.
    pub fn total(&self) -> usize {
        self.total
    }

    /// MSE over the grid once it is done; `None` if no images are held out.
    pub fn loss(&self) -> Option<f64> {
        (self.total > 0 && self.done == self.total).then(|| self.sum / self.total as f64)
    }
}

/// Models and functions that the loss is computed with.
pub(super) struct LossContext<'a> {
    pub(super) objective: &'a Objective,
    pub(super) rng: RunRng,
    /// The prediction for a noisy latent, its time and the text's context.
    pub(super) predict: &'a mut dyn FnMut(&Tensor, f64, &Tensor) -> Result<Tensor>,
    pub(super) dtype: DType,
    /// Scales a latent for the UNet.
    pub(super) scale: &'a dyn Fn(&Tensor) -> Result<Tensor>,
    /// Encodes an example's caption, [1, tokens, width].
    pub(super) text: &'a dyn Fn(&Example) -> Result<Tensor>,
}

/// Computes the next grid point.
pub(super) fn next(
    held_out_loss: &mut HeldOutLoss,
    examples: &[Example],
    context: &mut LossContext<'_>,
) -> Result<()> {
    let (i, k) = (held_out_loss.done / TIMESTEPS, held_out_loss.done % TIMESTEPS);
    let Some(example) = examples.get(i) else { return Ok(()) };
    // The posterior's mean instead of a sample, to keep the loss deterministic.
    let latents = (context.scale)(&example.mean)?;
    let text = match held_out_loss.text.take().filter(|_| k > 0) {
        Some(text) => text,
        None => (context.text)(example)?,
    };
    let timestep = (2 * k + 1) * context.objective.timesteps() / (2 * TIMESTEPS);
    let at = held_out_loss.done as u64;
    let noise = context.rng.normal(latents.dims(), RngStream::HeldOut, at, latents.device())?;
    let noisy = context.objective.noisy(&latents, &noise, &[timestep])?.to_dtype(context.dtype)?;
    let predicted = (context.predict)(&noisy, timestep as f64, &text)?;
    let target = context.objective.target(&latents, &noise, &[timestep])?;
    let loss = context.objective.loss(&predicted, &target, &[timestep], None)?;
    held_out_loss.sum += f64::from(loss.to_scalar::<f32>()?);
    held_out_loss.text = Some(text);
    held_out_loss.done += 1;
    Ok(())
}
