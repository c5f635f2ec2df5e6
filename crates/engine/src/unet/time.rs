//! The time embedding.

use candle_core::{DType, Device, Tensor};

use super::UNetConfig;
use crate::{ParameterVisitor, Result, checkpoint::Cursor, layers::Linear, ops::Activation};

/// Sinusoids of a timestep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sinusoids {
    width: usize,
    flip_sin_to_cos: bool,
    freq_shift: f64,
}

impl Sinusoids {
    pub(crate) fn new(config: &UNetConfig) -> Self {
        let (flip_sin_to_cos, freq_shift) = (config.flip_sin_to_cos, config.freq_shift);
        Self { width: config.block_out_channels[0], flip_sin_to_cos, freq_shift }
    }

    /// diffusers' `get_timestep_embedding`: sin and cos of t·10000^(−i/(half − freq_shift)), in f32 as there.
    pub(crate) fn of(&self, timestep: f64) -> Vec<f32> {
        let half = self.width / 2;
        let angle = |i: usize| {
            let exponent = -(10_000f64.ln() as f32) * i as f32 / (half as f32 - self.freq_shift as f32);
            timestep as f32 * exponent.exp()
        };
        let sin = (0..half).map(|i| angle(i).sin());
        let cos = (0..half).map(|i| angle(i).cos());
        let mut out: Vec<f32> =
            if self.flip_sin_to_cos { cos.chain(sin).collect() } else { sin.chain(cos).collect() };
        out.resize(self.width, 0.0);
        out
    }
}

/// Sinusoids of the timestep, then two linear layers.
#[derive(Clone, Debug)]
pub(crate) struct TimeEmbedding {
    linear_1: Linear,
    linear_2: Linear,
    sinusoids: Sinusoids,
    activation: Activation,
}

impl TimeEmbedding {
    /// Gives the width of the embedding along.
    pub(crate) fn load(config: &UNetConfig, cursor: &Cursor<'_>) -> Result<(Self, usize)> {
        let width = config.block_out_channels[0];
        let out = config.time_embedding_dim.unwrap_or(4 * width);
        let this = Self {
            linear_1: Linear::load(width, out, &cursor.pp("linear_1"))?,
            linear_2: Linear::load(out, out, &cursor.pp("linear_2"))?,
            sinusoids: Sinusoids::new(config),
            activation: config.act_fn,
        };
        Ok((this, out))
    }

    /// [times, 1, width of the embedding], with the activation that every residual block would apply first.
    pub(crate) fn forward(&self, timesteps: &[f64], dtype: DType, device: &Device) -> Result<Tensor> {
        let sinusoids: Vec<f32> = timesteps.iter().flat_map(|t| self.sinusoids.of(*t)).collect();
        let x = Tensor::from_vec(sinusoids, (timesteps.len(), 1, self.sinusoids.width), device)?
            .to_dtype(dtype)?;
        let x = self.activation.apply(&self.linear_1.forward(&x)?)?;
        self.activation.apply(&self.linear_2.forward(&x)?)
    }

    pub(crate) fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        self.linear_1.visit(&format!("{path}.linear_1"), f)?;
        self.linear_2.visit(&format!("{path}.linear_2"), f)
    }
}
