//! Noise levels, and what a prediction of the model says at one.

use candle_core::Tensor;

use super::PredictionType;
use crate::Result;

/// Noise level: x = α·x₀ + σ·ε. Where trajectories preserve variance, α² + σ² = 1; in k-diffusion's terms, α = 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoiseLevel {
    pub(super) alpha: f64,
    pub(super) sigma: f64,
}

impl NoiseLevel {
    pub(super) fn from_alpha_bar(alpha_bar: f64) -> Self {
        Self { alpha: alpha_bar.sqrt(), sigma: (1.0 - alpha_bar).sqrt() }
    }

    /// x = x₀ + σ·ε.
    pub(super) fn unscaled(sigma: f64) -> Self {
        Self { alpha: 1.0, sigma }
    }

    /// The variance-preserving level of k-diffusion's σ.
    pub(super) fn from_sigma(sigma: f64) -> Self {
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        Self { alpha, sigma: sigma * alpha }
    }

    /// x₀ from the model's prediction at `x`.
    pub(super) fn denoised(self, kind: PredictionType, x: &Tensor, prediction: &Tensor) -> Result<Tensor> {
        let Self { alpha, sigma } = self;
        Ok(match kind {
            // Pure noise says nothing about x₀ to a model that predicts ε; the bound keeps the result finite.
            PredictionType::Epsilon => ((x - (prediction * sigma)?)? / alpha.max(1e-6))?,
            PredictionType::VPrediction => ((x * alpha)? - (prediction * sigma)?)?,
            PredictionType::Sample => prediction.clone(),
        })
    }

    /// ε from the model's prediction at `x`.
    pub(super) fn epsilon(self, kind: PredictionType, x: &Tensor, prediction: &Tensor) -> Result<Tensor> {
        let Self { alpha, sigma } = self;
        Ok(match kind {
            PredictionType::Epsilon => prediction.clone(),
            PredictionType::VPrediction => ((prediction * alpha)? + (x * sigma)?)?,
            PredictionType::Sample => ((x - (prediction * alpha)?)? / sigma)?,
        })
    }
}
