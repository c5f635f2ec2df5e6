//! What is minimised: the error of the prediction for a noisy latent.

use candle_core::{D, DType, Tensor};

use crate::{
    Result,
    sampler::{NoiseSchedule, PredictionType},
};

/// The noise schedule that a model was trained with, and what it predicts.
#[derive(Clone, Debug)]
pub struct Objective {
    alphas: Vec<f32>,
    prediction: PredictionType,
}

impl Objective {
    /// That of a model's schedule.
    pub fn new(schedule: &NoiseSchedule) -> Self {
        Self { alphas: schedule.alphas_cumprod.clone(), prediction: schedule.config.prediction_type }
    }

    /// The same schedule for a model that predicts something else.
    #[cfg(test)]
    pub(super) fn with_prediction(self, prediction: PredictionType) -> Self {
        Self { prediction, ..self }
    }

    /// Timesteps of the schedule.
    pub fn timesteps(&self) -> usize {
        self.alphas.len()
    }

    fn alpha(&self, timestep: usize) -> f64 {
        f64::from(self.alphas.get(timestep).copied().unwrap_or(0.0))
    }

    /// One number for each image of the batch, to be multiplied with [batch, channels, height, width].
    fn column(values: Vec<f64>, like: &Tensor) -> Result<Tensor> {
        let count = values.len();
        let values: Vec<f32> = values.into_iter().map(|x| x as f32).collect();
        Ok(Tensor::from_vec(values, (count, 1, 1, 1), like.device())?)
    }

    fn roots(&self, timesteps: &[usize], like: &Tensor) -> Result<(Tensor, Tensor)> {
        let signal = timesteps.iter().map(|t| self.alpha(*t).sqrt()).collect();
        let noise = timesteps.iter().map(|t| (1.0 - self.alpha(*t)).sqrt()).collect();
        Ok((Self::column(signal, like)?, Self::column(noise, like)?))
    }

    /// z_t = √ᾱ·z + √(1−ᾱ)·ε, in f32, for latents and noise [batch, channels, height, width].
    ///
    /// # Errors
    /// Shapes do not fit, or memory runs out.
    pub fn noisy(&self, latents: &Tensor, noise: &Tensor, timesteps: &[usize]) -> Result<Tensor> {
        let (signal, spread) = self.roots(timesteps, latents)?;
        Ok((latents.broadcast_mul(&signal)? + noise.broadcast_mul(&spread)?)?)
    }

    /// What the model should predict: ε, v = √ᾱ·ε − √(1−ᾱ)·z, or z.
    ///
    /// # Errors
    /// Shapes do not fit, or memory runs out.
    pub fn target(&self, latents: &Tensor, noise: &Tensor, timesteps: &[usize]) -> Result<Tensor> {
        match self.prediction {
            PredictionType::Epsilon => Ok(noise.clone()),
            PredictionType::Sample => Ok(latents.clone()),
            PredictionType::VPrediction => {
                let (signal, spread) = self.roots(timesteps, latents)?;
                Ok((noise.broadcast_mul(&signal)? - latents.broadcast_mul(&spread)?)?)
            }
        }
    }

    /// min(SNR, γ) / SNR for ε, / (SNR + 1) for v, min(SNR, γ) for z (Hang et al. 2023); 1 without γ.
    pub fn weight(&self, timestep: usize, gamma: Option<f64>) -> f64 {
        let Some(gamma) = gamma else { return 1.0 };
        let alpha = self.alpha(timestep);
        let snr = alpha / (1.0 - alpha);
        match self.prediction {
            PredictionType::Epsilon => snr.min(gamma) / snr,
            PredictionType::VPrediction => snr.min(gamma) / (snr + 1.0),
            PredictionType::Sample => snr.min(gamma),
        }
    }

    /// The mean over images of weight × mean squared error, a scalar in f32.
    ///
    /// # Errors
    /// Shapes do not fit, or memory runs out.
    pub fn loss(
        &self,
        predicted: &Tensor,
        target: &Tensor,
        timesteps: &[usize],
        gamma: Option<f64>,
    ) -> Result<Tensor> {
        let each = (predicted.to_dtype(DType::F32)? - target)?.sqr()?.flatten_from(1)?.mean(D::Minus1)?;
        if gamma.is_none() {
            return Ok(each.mean_all()?);
        }
        let weights: Vec<f32> = timesteps.iter().map(|t| self.weight(*t, gamma) as f32).collect();
        Ok((each * Tensor::new(weights.as_slice(), predicted.device())?)?.mean_all()?)
    }
}
