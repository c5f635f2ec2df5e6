//! A loss that can be compared: over a fixed grid of (held-out image, ε, t), without gradients, one place of the
//! grid at a time.

use candle_core::{DType, Tensor};

use super::{
    data::Example,
    loss::Objective,
    rng::{RngStream, RunRng},
};
use crate::{Result, UNet};

/// Timesteps of the grid for each image, in the middle of as many equal parts of the schedule.
const TIMESTEPS: usize = 8;

/// A measurement under way. The factors must stay as they are until it is done.
#[derive(Debug, Default)]
pub struct HeldOutLoss {
    done: usize,
    total: usize,
    sum: f64,
    /// The text of the present image, [1, tokens, width].
    text: Option<Tensor>,
}

impl HeldOutLoss {
    pub(super) fn new(examples: usize) -> Self {
        Self { total: examples * TIMESTEPS, ..Self::default() }
    }

    /// Places of the grid done.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Places of the grid.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The mean squared error over the grid, once all of it is done; `None` where nothing is held out.
    pub fn loss(&self) -> Option<f64> {
        (self.total > 0 && self.done == self.total).then(|| self.sum / self.total as f64)
    }
}

/// What a measurement computes with.
pub(super) struct LossContext<'a> {
    pub(super) objective: &'a Objective,
    pub(super) rng: RunRng,
    pub(super) unet: &'a UNet,
    pub(super) dtype: DType,
    /// A latent as the UNet sees it.
    pub(super) scale: &'a dyn Fn(&Tensor) -> Result<Tensor>,
    /// An example's text, [1, tokens, width].
    pub(super) text: &'a dyn Fn(&Example) -> Result<Tensor>,
}

/// Adds the next place of the grid.
pub(super) fn next(
    held_out_loss: &mut HeldOutLoss,
    examples: &[Example],
    context: &LossContext<'_>,
) -> Result<()> {
    let (i, k) = (held_out_loss.done / TIMESTEPS, held_out_loss.done % TIMESTEPS);
    let Some(example) = examples.get(i) else { return Ok(()) };
    // The mean stands for the image: no draw from its own distribution in a measurement.
    let latents = (context.scale)(&example.mean)?;
    let text = match held_out_loss.text.take().filter(|_| k > 0) {
        Some(text) => text,
        None => (context.text)(example)?,
    };
    let timestep = (2 * k + 1) * context.objective.timesteps() / (2 * TIMESTEPS);
    let at = held_out_loss.done as u64;
    let noise = context.rng.normal(latents.dims(), RngStream::HeldOut, at, latents.device())?;
    let noisy = context.objective.noisy(&latents, &noise, &[timestep])?.to_dtype(context.dtype)?;
    let predicted = context.unet.forward(&noisy, timestep as f64, &text)?;
    let target = context.objective.target(&latents, &noise, &[timestep])?;
    let loss = context.objective.loss(&predicted, &target, &[timestep], None)?;
    held_out_loss.sum += f64::from(loss.to_scalar::<f32>()?);
    held_out_loss.text = Some(text);
    held_out_loss.done += 1;
    Ok(())
}
