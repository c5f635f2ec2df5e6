//! A loss that can be compared: over a fixed grid of (held-out picture, ε, t), without gradients.

use candle_core::Tensor;

use super::{
    data::Example,
    draw::{Draw, Purpose},
    loss::Objective,
};
use crate::{Result, UNet};

/// Timesteps of the grid for each picture, in the middle of as many equal parts of the schedule.
const TIMESTEPS: usize = 8;

/// The mean squared error over the grid; `None` where nothing is held out. `context` gives each example's text,
/// [1, tokens, width].
pub(super) fn loss(
    examples: &[Example],
    objective: &Objective,
    draw: Draw,
    unet: &UNet,
    dtype: candle_core::DType,
    scale: &dyn Fn(&Tensor) -> Result<Tensor>,
    context: &dyn Fn(&Example) -> Result<Tensor>,
) -> Result<Option<f64>> {
    let mut sum = 0.0;
    for (i, example) in examples.iter().enumerate() {
        // The mean stands for the picture: no draw from its own distribution in a measurement.
        let latents = scale(&example.mean)?;
        let text = context(example)?;
        for k in 0..TIMESTEPS {
            let timestep = (2 * k + 1) * objective.timesteps() / (2 * TIMESTEPS);
            let at = (i * TIMESTEPS + k) as u64;
            let noise = draw.normal(latents.dims(), Purpose::HeldOut, at, latents.device())?;
            let noisy = objective.noisy(&latents, &noise, &[timestep])?.to_dtype(dtype)?;
            let predicted = unet.forward(&noisy, timestep as f64, &text)?;
            let target = objective.target(&latents, &noise, &[timestep])?;
            let loss = objective.loss(&predicted, &target, &[timestep], None)?;
            sum += f64::from(loss.to_scalar::<f32>()?);
        }
    }
    let count = examples.len() * TIMESTEPS;
    Ok((count > 0).then(|| sum / count as f64))
}
