//! A run: micro-steps that add up gradients, updates that move the factors.

use std::{fs, path::Path};

use adire_protocol::TrainingConfig;
use candle_core::{DType, Device, Tensor};

use super::{
    adamw::{self, AdamW},
    data::{Example, Prepared},
    draw::{Draw, Purpose},
    held_out,
    loss::Objective,
    parameters::Parameters,
    rate::learning_rate,
    state::{self, Header},
};
use crate::{EngineError, Result, TextEncoder, UNet, adapter::Component, recompute::Recompute};

/// What one micro-step did.
#[derive(Clone, Debug)]
pub struct Micro {
    /// Loss of the batch: noisy, since it is that of one timestep for each picture.
    pub loss: f64,
    /// The update that it completed, if it did.
    pub update: Option<Update>,
}

/// What one update did.
#[derive(Clone, Debug)]
pub struct Update {
    /// Updates made, this one included.
    pub step: u32,
    /// Mean loss over its micro-steps.
    pub loss: f64,
    /// The learning rate that was used.
    pub learning_rate: f64,
    /// Norm of all gradients before they were clipped.
    pub gradient_norm: f64,
}

/// A training run. Holds copies of the models that share the base's weights; the base itself is not touched.
#[derive(Debug)]
pub struct Trainer {
    config: TrainingConfig,
    unet: UNet,
    text: TextEncoder,
    objective: Objective,
    data: Prepared,
    parameters: Parameters,
    recompute: Option<Recompute>,
    adamw: AdamW,
    draw: Draw,
    device: Device,
    dtype: DType,
    /// Scale and shift from the autoencoder's latents to the UNet's.
    scale: (f64, f64),
    micro_steps: u64,
    /// Gradients since the last update, in the order of the factors.
    sums: Vec<Option<Tensor>>,
    /// Losses since the last update.
    losses: Vec<f64>,
    rate_factor: f64,
    halved: bool,
    good: Vec<u8>,
}

impl Trainer {
    /// A run from its beginning. `scale` is the autoencoder's factor and shift; `dtype` is the models'.
    ///
    /// # Errors
    /// The settings ask for what this model does not have, or memory runs out.
    #[expect(clippy::too_many_arguments, reason = "the one place where a model's parts meet the data")]
    pub fn new(
        config: TrainingConfig,
        unet: &UNet,
        text: &TextEncoder,
        objective: Objective,
        data: Prepared,
        scale: (f64, f64),
        device: &Device,
        dtype: DType,
    ) -> Result<Self> {
        if let Some(problem) = config.problems().into_iter().next() {
            return Err(EngineError::Request(problem.message));
        }
        if data.instances.is_empty() {
            return Err(EngineError::Request("there is no picture to train on; add at least one".to_owned()));
        }
        let (mut unet, mut text) = (unet.clone(), text.clone());
        // Adapters in effect are no part of the base.
        crate::adapter::visit(&mut unet, &mut text, &mut |_, _, weight| weight.set_delta(None))?;
        let parameters = Parameters::new(&config, &mut unet, &mut text, device)?;
        let recompute = if config.gradient_checkpointing {
            Some(Recompute::new(parameters.factors().cloned().collect(), dtype, device)?)
        } else {
            None
        };
        unet.set_recompute(recompute.as_ref());
        let adamw = AdamW::new(parameters.factors())?;
        let count = adamw.first.len();
        let mut this = Self {
            draw: Draw::new(config.seed),
            device: device.clone(),
            config,
            unet,
            text,
            objective,
            data,
            parameters,
            recompute,
            adamw,
            dtype,
            scale,
            micro_steps: 0,
            sums: vec![None; count],
            losses: Vec::new(),
            rate_factor: 1.0,
            halved: false,
            good: Vec::new(),
        };
        this.good = this.checkpoint()?;
        Ok(this)
    }

    /// The settings.
    pub fn config(&self) -> &TrainingConfig {
        &self.config
    }

    /// What is trained.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// What is trained on.
    pub fn data(&self) -> &Prepared {
        &self.data
    }

    /// Updates made.
    pub fn updates(&self) -> u32 {
        self.adamw.updates
    }

    /// Whether all updates have been made.
    pub fn finished(&self) -> bool {
        self.adamw.updates >= self.config.steps
    }

    /// One batch forwards and backwards, and an update when enough of them have been added up (or the pictures have
    /// all been seen once more, as diffusers' script does).
    ///
    /// When loss or gradients are no longer finite the run goes back to the last good checkpoint and halves the
    /// learning rate, once.
    ///
    /// # Errors
    /// The second time that this happens: [`EngineError::Request`] with the reason. Memory runs out.
    pub fn micro_step(&mut self) -> Result<Micro> {
        let (loss, gradients) = self.gradients()?;
        self.micro_steps += 1;
        if !loss.is_finite() {
            self.rewind(&format!("the loss became {loss}"))?;
            return Ok(Micro { loss, update: None });
        }
        let share = 1.0 / f64::from(self.config.accumulation);
        for (sum, gradient) in self.sums.iter_mut().zip(gradients) {
            let Some(gradient) = gradient else { continue };
            let part = (gradient * share)?;
            *sum = Some(match sum.take() {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        self.losses.push(loss);
        let full = self.losses.len() >= self.config.accumulation as usize;
        let end_of_epoch = self.micro_steps.is_multiple_of(self.batches().len() as u64);
        if !full && !end_of_epoch {
            return Ok(Micro { loss, update: None });
        }
        let update = self.update()?;
        Ok(Micro { loss, update })
    }

    fn update(&mut self) -> Result<Option<Update>> {
        let mut gradients = std::mem::replace(&mut self.sums, vec![None; self.adamw.first.len()]);
        let losses = std::mem::take(&mut self.losses);
        let gradient_norm = adamw::norm(&gradients)?;
        if !gradient_norm.is_finite() {
            self.rewind(&format!("the gradients' norm became {gradient_norm}"))?;
            return Ok(None);
        }
        adamw::clip(&mut gradients, gradient_norm, self.config.max_gradient_norm)?;
        let learning_rate = self.rate_factor * learning_rate(&self.config, self.adamw.updates);
        self.adamw.update(self.parameters.factors(), &gradients, learning_rate, self.config.weight_decay)?;
        let step = self.adamw.updates;
        if step.is_multiple_of(self.config.checkpoint_every) {
            // What one comes back to must be good itself.
            let finite = self.parameters.factors().try_fold(true, |good, factor| {
                let largest = factor.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
                Ok::<_, EngineError>(good && largest.is_finite())
            })?;
            if !finite {
                self.rewind("a weight is no longer a finite number")?;
                return Ok(None);
            }
            self.good = self.checkpoint()?;
        }
        let loss = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        Ok(Some(Update { step, loss, learning_rate, gradient_norm }))
    }

    /// Back to the last good state with half the rate, once.
    fn rewind(&mut self, reason: &str) -> Result<()> {
        let at = self.adamw.updates;
        if self.halved {
            return Err(EngineError::Request(format!(
                "training broke down at update {at}: {reason}, also after the learning rate was halved to {:.1e}. \
                 Use a smaller learning rate; 1e-4 is usual.",
                self.config.learning_rate * self.rate_factor
            )));
        }
        let good = std::mem::take(&mut self.good);
        self.restore(&good)?;
        self.good = good;
        (self.halved, self.rate_factor) = (true, self.rate_factor / 2.0);
        // The halved rate belongs to what one comes back to, should the program end now.
        self.good = self.checkpoint()?;
        Ok(())
    }

    /// Whether the watchdog went back to an earlier state and halved the rate.
    pub fn halved(&self) -> bool {
        self.halved
    }

    /// Loss and gradients of the next micro-step, in the order of the factors.
    fn gradients(&mut self) -> Result<(f64, Vec<Option<Tensor>>)> {
        self.parameters.attach(&mut self.unet, &mut self.text, true)?;
        let at = self.micro_steps;
        let batches = self.batches();
        let (epoch, place) = (at / batches.len() as u64, (at % batches.len() as u64) as usize);
        let order = self.draw.order(batches.len(), Purpose::Order, epoch);
        let batch: Vec<&Example> = batches[order[place]].iter().map(|i| &self.data.instances[*i]).collect();
        let classes: Vec<&Example> = if self.data.classes.is_empty() {
            Vec::new()
        } else {
            let pick = |i| {
                &self.data.classes[self.draw.below(self.data.classes.len(), Purpose::Order, at, 1000 + i)]
            };
            (0..batch.len() as u64).map(pick).collect()
        };
        let instance = self.batch_loss(&batch, at, 0, self.config.min_snr_gamma)?;
        let loss = if classes.is_empty() {
            instance
        } else {
            // Of whatever sizes they are: prior pictures make a batch of their own.
            (instance + (self.batch_loss(&classes, at, 1, None)? * self.config.prior_weight)?)?
        };
        let value = f64::from(loss.to_scalar::<f32>()?);
        if !value.is_finite() {
            return Ok((value, Vec::new()));
        }
        let mut found = loss.backward()?;
        let mut inside = self.recompute.as_ref().map(Recompute::take).unwrap_or_default();
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

    /// The loss of some pictures, as a scalar with its graph. `part`: 0 for the subject's, 1 for the class'.
    fn batch_loss(&self, examples: &[&Example], at: u64, part: u64, gamma: Option<f64>) -> Result<Tensor> {
        // Batches of a micro-step draw from places of their own.
        let place = 2 * at + part;
        let join = |pick: fn(&Example) -> &Tensor| -> Result<Tensor> {
            let all: Vec<&Tensor> = examples.iter().map(|example| pick(example)).collect();
            Ok(Tensor::cat(&all, 0)?)
        };
        let (mean, log_variance) = (join(|e| &e.mean)?, join(|e| &e.log_variance)?);
        let spread = self.draw.normal(mean.dims(), Purpose::Posterior, place, &self.device)?;
        let sample = (&mean + ((log_variance * 0.5)?.exp()? * spread)?)?;
        let latents = self.scaled(&sample)?;
        let mut noise = self.draw.normal(mean.dims(), Purpose::Noise, place, &self.device)?;
        if self.config.noise_offset > 0.0 {
            let (batch, channels, _, _) = mean.dims4()?;
            let shift =
                self.draw.normal(&[batch, channels, 1, 1], Purpose::NoiseOffset, place, &self.device)?;
            noise = noise.broadcast_add(&(shift * self.config.noise_offset)?)?;
        }
        let timesteps: Vec<usize> = (0..examples.len() as u64)
            .map(|i| self.draw.below(self.objective.timesteps(), Purpose::Timestep, place, i))
            .collect();
        let tokens: Vec<Vec<u32>> = examples
            .iter()
            .enumerate()
            .map(|(i, example)| {
                let dropped = self.draw.unit(Purpose::Caption, place, i as u64) < self.config.caption_dropout;
                if dropped { self.data.empty.clone() } else { example.tokens.clone() }
            })
            .collect();
        let context = self.text.forward(&tokens)?;
        self.loss(&latents, &noise, &timesteps, &context, gamma)
    }

    /// The loss for given draws: `latents` and `noise` [batch, channels, height, width] in f32.
    fn loss(
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
    fn scaled(&self, latents: &Tensor) -> Result<Tensor> {
        let (scale, shift) = self.scale;
        Ok(latents.affine(scale, -shift * scale)?)
    }

    /// The pictures in batches of one size each; the same ones for the whole run.
    fn batches(&self) -> Vec<Vec<usize>> {
        let mut by_size = std::collections::BTreeMap::<_, Vec<usize>>::new();
        for (i, example) in self.data.instances.iter().enumerate() {
            by_size.entry(example.size()).or_default().push(i);
        }
        let size = self.config.batch as usize;
        by_size.values().flat_map(|indices| indices.chunks(size).map(<[usize]>::to_vec)).collect()
    }

    /// The loss over the held-out grid, with the factors as they are now; `None` where nothing is held out.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn held_out_loss(&mut self) -> Result<Option<f64>> {
        self.parameters.attach(&mut self.unet, &mut self.text, false)?;
        self.unet.set_recompute(None);
        let result = held_out::loss(
            &self.data.held_out,
            &self.objective,
            self.draw,
            &self.unet,
            self.dtype,
            &|latents| self.scaled(latents),
            &|example| self.text.forward(std::slice::from_ref(&example.tokens)),
        );
        self.unet.set_recompute(self.recompute.as_ref());
        result
    }

    /// The whole state as the content of a file. Only right after an update: what has been added up since is not in
    /// it, and is computed again.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn checkpoint(&self) -> Result<Vec<u8>> {
        let header = Header {
            config: self.config.clone(),
            updates: self.adamw.updates,
            micro_steps: self.micro_steps - self.losses.len() as u64,
            rate_factor: self.rate_factor,
            halved: self.halved,
        };
        state::write(&header, &self.parameters, &self.adamw)
    }

    /// Takes up a run where [`Self::checkpoint`] left it.
    ///
    /// # Errors
    /// [`EngineError::Request`]: it is no checkpoint, damaged, or of another model or other settings.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let header = state::read(bytes, &self.config, &self.parameters, &mut self.adamw, &self.device)?;
        self.micro_steps = header.micro_steps;
        (self.rate_factor, self.halved) = (header.rate_factor, header.halved);
        self.sums = vec![None; self.adamw.first.len()];
        self.losses.clear();
        self.good = bytes.to_vec();
        Ok(())
    }

    /// Writes [`Self::checkpoint`] to a file that is whole at any moment.
    ///
    /// # Errors
    /// [`EngineError::Request`] when it cannot be written; what was there before is then untouched.
    pub fn save(&self, path: &Path) -> Result<()> {
        state::save(path, &self.checkpoint()?).map_err(|error| {
            EngineError::Request(format!(
                "the checkpoint {} cannot be written ({error}); the one before it is untouched",
                path.display()
            ))
        })
    }

    /// Takes up the run of a file that [`Self::save`] wrote.
    ///
    /// # Errors
    /// As [`Self::restore`]; the file cannot be read.
    pub fn load(&mut self, path: &Path) -> Result<()> {
        let bytes = fs::read(path).map_err(|error| {
            EngineError::Request(format!("the checkpoint {} cannot be read ({error})", path.display()))
        })?;
        self.restore(&bytes)
    }

    /// Whether the text encoder is trained, too.
    pub fn trains_text(&self) -> bool {
        self.parameters.layers().iter().any(|layer| layer.component == Component::TextEncoder)
    }
}

#[cfg(test)]
mod tests;
