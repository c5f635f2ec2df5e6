//! From a batch to its gradients.

use candle_core::Tensor;

use super::Trainer;
use crate::{
    Result,
    gradient_checkpointing::GradientCheckpointing,
    train::{data::Example, rng::RngStream},
};

impl Trainer {
    /// Loss and gradients of the next micro-step, in the order of the factors.
    pub(super) fn gradients(&mut self) -> Result<(f64, Vec<Option<Tensor>>)> {
        self.parameters.attach(&mut self.unet, &mut self.text, true)?;
        let at = self.micro_steps;
        let batches = self.batches();
        let (epoch, place) = (at / batches.len() as u64, (at % batches.len() as u64) as usize);
        let order = self.rng.order(batches.len(), RngStream::Order, epoch);
        let batch: Vec<&Example> = batches[order[place]].iter().map(|i| &self.data.instances[*i]).collect();
        let classes: Vec<&Example> = if self.data.classes.is_empty() {
            Vec::new()
        } else {
            let pick = |i| {
                &self.data.classes
                    [self.rng.uniform_below(self.data.classes.len(), RngStream::Order, at, 1000 + i)]
            };
            (0..batch.len() as u64).map(pick).collect()
        };
        let instance = self.batch_loss(&batch, at, 0, self.config.min_snr_gamma)?;
        let loss = if classes.is_empty() {
            instance
        } else {
            // Of whatever sizes they are: prior images make a batch of their own.
            (instance + (self.batch_loss(&classes, at, 1, None)? * self.config.prior_weight)?)?
        };
        let value = f64::from(loss.to_scalar::<f32>()?);
        if !value.is_finite() {
            return Ok((value, Vec::new()));
        }
        let mut found = loss.backward()?;
        let mut inside = self.checkpointing.as_ref().map(GradientCheckpointing::take).unwrap_or_default();
        let gradients = self
            .parameters
            .factors()
            .map(|factor| match (found.remove(factor), inside.remove(&factor.id())) {
                (Some(a), Some(b)) => Ok(Some((a + b)?)),
                (a, b) => Ok(a.or(b)),
            })
            .collect::<Result<Vec<_>>>()?;
        Ok((value, gradients))
    }

    /// The loss of some images, as a scalar with its graph. `part`: 0 for the subject's, 1 for the class'.
    fn batch_loss(&self, examples: &[&Example], at: u64, part: u64, gamma: Option<f64>) -> Result<Tensor> {
        // Batches of a micro-step draw from places of their own.
        let place = 2 * at + part;
        let join = |pick: fn(&Example) -> &Tensor| -> Result<Tensor> {
            let all: Vec<&Tensor> = examples.iter().map(|example| pick(example)).collect();
            Ok(Tensor::cat(&all, 0)?)
        };
        let (mean, log_variance) = (join(|e| &e.mean)?, join(|e| &e.log_variance)?);
        let spread = self.rng.normal(mean.dims(), RngStream::Posterior, place, &self.device)?;
        let sample = (&mean + ((log_variance * 0.5)?.exp()? * spread)?)?;
        let latents = self.scaled(&sample)?;
        let mut noise = self.rng.normal(mean.dims(), RngStream::Noise, place, &self.device)?;
        if self.config.noise_offset > 0.0 {
            let (batch, channels, _, _) = mean.dims4()?;
            let shift =
                self.rng.normal(&[batch, channels, 1, 1], RngStream::NoiseOffset, place, &self.device)?;
            noise = noise.broadcast_add(&(shift * self.config.noise_offset)?)?;
        }
        let timesteps: Vec<usize> = (0..examples.len() as u64)
            .map(|i| self.rng.uniform_below(self.objective.timesteps(), RngStream::Timestep, place, i))
            .collect();
        let tokens: Vec<Vec<u32>> = examples
            .iter()
            .enumerate()
            .map(|(i, example)| {
                let dropped =
                    self.rng.unit(RngStream::Caption, place, i as u64) < self.config.caption_dropout;
                if dropped { self.data.empty.clone() } else { example.tokens.clone() }
            })
            .collect();
        let context = self.text.forward(&tokens)?;
        self.loss(&latents, &noise, &timesteps, &context, gamma)
    }

    /// The loss for given draws: `latents` and `noise` [batch, channels, height, width] in f32.
    pub(super) fn loss(
        &self,
        latents: &Tensor,
        noise: &Tensor,
        timesteps: &[usize],
        context: &Tensor,
        gamma: Option<f64>,
    ) -> Result<Tensor> {
        let noisy = self.objective.noisy(latents, noise, timesteps)?.to_dtype(self.dtype)?;
        let times: Vec<f64> = timesteps.iter().map(|t| *t as f64).collect();
        let predicted = self.unet.forward_each(&noisy, &times, context)?;
        let target = self.objective.target(latents, noise, timesteps)?;
        self.objective.loss(&predicted, &target, timesteps, gamma)
    }

    /// A latent as the UNet sees it.
    pub(super) fn scaled(&self, latents: &Tensor) -> Result<Tensor> {
        let (scale, shift) = self.scale;
        Ok(latents.affine(scale, -shift * scale)?)
    }

    /// The images in batches of one size each; the same ones for the whole run.
    pub(super) fn batches(&self) -> Vec<Vec<usize>> {
        let mut by_size = std::collections::BTreeMap::<_, Vec<usize>>::new();
        for (i, example) in self.data.instances.iter().enumerate() {
            by_size.entry(example.size()).or_default().push(i);
        }
        let size = self.config.batch as usize;
        by_size.values().flat_map(|indices| indices.chunks(size).map(<[usize]>::to_vec)).collect()
    }
}
