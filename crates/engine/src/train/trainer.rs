//! A run: micro-steps that add up gradients, updates that move the factors.

mod checkpoint;
mod gradients;

use adire_protocol::TrainingConfig;
use candle_core::{DType, Device, Tensor};

use super::{
    adamw::{self, AdamW},
    data::Prepared,
    held_out::{self, HeldOutLoss},
    loss::Objective,
    parameters::Parameters,
    rate::learning_rate,
    rng::RunRng,
};
use crate::{
    EngineError, Result, TextEncoder, UNet,
    adapter::{Adapter, Component},
    gradient_checkpointing::GradientCheckpointing,
};

/// What one micro-step did.
#[derive(Clone, Debug)]
pub struct MicroStep {
    /// Loss of the batch: noisy, since it is that of one timestep for each image.
    pub loss: f64,
    /// The update that it completed, if it did.
    pub optimizer_step: Option<OptimizerStep>,
}

/// What one update did.
#[derive(Clone, Debug)]
pub struct OptimizerStep {
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
    checkpointing: Option<GradientCheckpointing>,
    adamw: AdamW,
    rng: RunRng,
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
            return Err(EngineError::Request("there is no image to train on; add at least one".to_owned()));
        }
        let (mut unet, mut text) = (unet.clone(), text.clone());
        // Adapters in effect are no part of the base.
        crate::adapter::visit(&mut unet, &mut text, &mut |_, _, _, weight| weight.set_delta(None))?;
        let parameters = Parameters::new(&config, &mut unet, &mut text, device)?;
        let checkpointing = if config.gradient_checkpointing {
            Some(GradientCheckpointing::new(parameters.factors().cloned().collect(), dtype, device)?)
        } else {
            None
        };
        unet.set_checkpointing(checkpointing.as_ref());
        let adamw = AdamW::new(parameters.factors())?;
        let count = adamw.first.len();
        let mut this = Self {
            rng: RunRng::new(config.seed),
            device: device.clone(),
            config,
            unet,
            text,
            objective,
            data,
            parameters,
            checkpointing,
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

    /// Begins with an adapter's factors instead of no change: [`Parameters::take`]. Only before the first step.
    ///
    /// # Errors
    /// As there; steps have been made.
    pub fn begin_with(&mut self, adapter: &Adapter) -> Result<()> {
        if self.micro_steps > 0 {
            let message = "an adapter can only be begun with before the first step".to_owned();
            return Err(EngineError::Request(message));
        }
        self.parameters.take(adapter)?;
        self.good = self.checkpoint()?;
        Ok(())
    }

    /// The settings.
    pub fn config(&self) -> &TrainingConfig {
        &self.config
    }

    /// Where the steps are computed.
    pub fn device(&self) -> &Device {
        &self.device
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
    pub fn steps_done(&self) -> u32 {
        self.adamw.steps_done
    }

    /// Whether all updates have been made.
    pub fn finished(&self) -> bool {
        self.adamw.steps_done >= self.config.steps
    }

    /// One batch forwards and backwards, and an update when enough of them have been added up (or the images have
    /// all been seen once more, as diffusers' script does).
    ///
    /// When loss or gradients are no longer finite the run goes back to the last good checkpoint and halves the
    /// learning rate, once.
    ///
    /// # Errors
    /// The second time that this happens: [`EngineError::Request`] with the reason. Memory runs out.
    pub fn micro_step(&mut self) -> Result<MicroStep> {
        let (loss, gradients) = self.gradients()?;
        self.micro_steps += 1;
        if !loss.is_finite() {
            self.rewind(&format!("the loss became {loss}"))?;
            return Ok(MicroStep { loss, optimizer_step: None });
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
            return Ok(MicroStep { loss, optimizer_step: None });
        }
        let optimizer_step = self.optimizer_step()?;
        Ok(MicroStep { loss, optimizer_step })
    }

    fn optimizer_step(&mut self) -> Result<Option<OptimizerStep>> {
        let mut gradients = std::mem::replace(&mut self.sums, vec![None; self.adamw.first.len()]);
        let losses = std::mem::take(&mut self.losses);
        let gradient_norm = adamw::norm(&gradients)?;
        if !gradient_norm.is_finite() {
            self.rewind(&format!("the gradients' norm became {gradient_norm}"))?;
            return Ok(None);
        }
        adamw::clip(&mut gradients, gradient_norm, self.config.max_gradient_norm)?;
        let learning_rate = self.rate_factor * learning_rate(&self.config, self.adamw.steps_done);
        self.adamw.step(self.parameters.factors(), &gradients, learning_rate, self.config.weight_decay)?;
        let step = self.adamw.steps_done;
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
        Ok(Some(OptimizerStep { step, loss, learning_rate, gradient_norm }))
    }

    /// Back to the last good state with half the rate, once.
    fn rewind(&mut self, reason: &str) -> Result<()> {
        let at = self.adamw.steps_done;
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

    /// The loss over the held-out grid, with the factors as they are now; `None` where nothing is held out.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn held_out_loss(&mut self) -> Result<Option<f64>> {
        let mut held_out_loss = self.begin_held_out_loss();
        while held_out_loss.done() < held_out_loss.total() {
            self.advance_held_out_loss(&mut held_out_loss)?;
        }
        Ok(held_out_loss.loss())
    }

    /// A measurement of the held-out loss that [`Self::advance_held_out_loss`] carries on.
    pub fn begin_held_out_loss(&self) -> HeldOutLoss {
        HeldOutLoss::new(self.data.held_out.len())
    }

    /// Computes one place of the grid. Between two of them no step may be made.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn advance_held_out_loss(&mut self, held_out_loss: &mut HeldOutLoss) -> Result<()> {
        self.parameters.attach(&mut self.unet, &mut self.text, false)?;
        self.unet.set_checkpointing(None);
        let context = held_out::LossContext {
            objective: &self.objective,
            rng: self.rng,
            unet: &self.unet,
            dtype: self.dtype,
            scale: &|latents| self.scaled(latents),
            text: &|example| self.text.forward(std::slice::from_ref(&example.tokens)),
        };
        let result = held_out::next(held_out_loss, &self.data.held_out, &context);
        self.unet.set_checkpointing(self.checkpointing.as_ref());
        result
    }

    /// Whether the text encoder is trained, too.
    pub fn trains_text(&self) -> bool {
        self.parameters.layers().iter().any(|layer| layer.component == Component::TextEncoder)
    }
}

#[cfg(test)]
mod tests;
