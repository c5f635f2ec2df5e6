//! A loss that can be compared: over a fixed grid of (held-out image, ε, t), without gradients, one place of the
//! grid at a time.

use candle_core::{DType, Tensor};

use super::{
    data::Example,
    draw::{Draw, Purpose},
    loss::Objective,
};
use crate::{Result, UNet};

/// Timesteps of the grid for each image, in the middle of as many equal parts of the schedule.
const TIMESTEPS: usize = 8;

/// A measurement under way. The factors must stay as they are until it is done.
#[derive(Debug, Default)]
pub struct Measurement {
    done: usize,
    total: usize,
    sum: f64,
    /// The text of the present image, [1, tokens, width].
    text: Option<Tensor>,
}

impl Measurement {
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
pub(super) struct With<'a> {
    pub(super) objective: &'a Objective,
    pub(super) draw: Draw,
    pub(super) unet: &'a UNet,
    pub(super) dtype: DType,
    /// A latent as the UNet sees it.
    pub(super) scale: &'a dyn Fn(&Tensor) -> Result<Tensor>,
    /// An example's text, [1, tokens, width].
    pub(super) context: &'a dyn Fn(&Example) -> Result<Tensor>,
}

/// Adds the next place of the grid.
pub(super) fn next(measurement: &mut Measurement, examples: &[Example], with: &With<'_>) -> Result<()> {
    let (i, k) = (measurement.done / TIMESTEPS, measurement.done % TIMESTEPS);
    let Some(example) = examples.get(i) else { return Ok(()) };
    // The mean stands for the image: no draw from its own distribution in a measurement.
    let latents = (with.scale)(&example.mean)?;
    let text = match measurement.text.take().filter(|_| k > 0) {
        Some(text) => text,
        None => (with.context)(example)?,
    };
    let timestep = (2 * k + 1) * with.objective.timesteps() / (2 * TIMESTEPS);
    let at = measurement.done as u64;
    let noise = with.draw.normal(latents.dims(), Purpose::HeldOut, at, latents.device())?;
    let noisy = with.objective.noisy(&latents, &noise, &[timestep])?.to_dtype(with.dtype)?;
    let predicted = with.unet.forward(&noisy, timestep as f64, &text)?;
    let target = with.objective.target(&latents, &noise, &[timestep])?;
    let loss = with.objective.loss(&predicted, &target, &[timestep], None)?;
    measurement.sum += f64::from(loss.to_scalar::<f32>()?);
    measurement.text = Some(text);
    measurement.done += 1;
    Ok(())
}
