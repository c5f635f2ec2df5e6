//! Trainer: micro-steps accumulate gradients, optimizer steps update the factors.

mod checkpoint;
mod gradients;

use std::collections::HashMap;

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
    plan::{PlannedUNet, TrainingUNet},
};

/// Result of one micro-step (one forward and backward pass).
#[derive(Clone, Debug)]
pub struct MicroStep {
    /// Training loss of the batch; noisy, with one timestep per image.
    pub loss: f64,
    /// The optimizer step that it completed, if any.
    pub optimizer_step: Option<OptimizerStep>,
}

/// Result of one optimizer step.
#[derive(Clone, Debug)]
pub struct OptimizerStep {
    /// Optimizer steps done, including this one.
    pub step: u32,
    /// Mean loss over its micro-steps.
    pub loss: f64,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Global gradient norm before clipping.
    pub gradient_norm: f64,
}

/// State of a training run. Its copies of the models share the base model's weights, which never change.
#[derive(Debug)]
pub struct Trainer {
    config: TrainingConfig,
    unet: UNet,
    text: TextEncoder,
    objective: Objective,
    data: Prepared,
    parameters: Parameters,
    checkpointing: Option<GradientCheckpointing>,
    /// The UNet's way to compute, where there is a plan with gradients; else the modules'.
    plan: Option<TrainingUNet>,
    /// What a frozen text encoder makes of captions.
    contexts: HashMap<Vec<u32>, Tensor>,
    adamw: AdamW,
    rng: RunRng,
    device: Device,
    dtype: DType,
    /// Scale and shift from the autoencoder's latents to the UNet's.
    scale: (f64, f64),
    micro_steps: u64,
    /// Gradients accumulated since the last optimizer step, in the order of the factors.
    sums: Vec<Option<Tensor>>,
    /// Losses since the last optimizer step.
    losses: Vec<f64>,
    rate_factor: f64,
    halved: bool,
    good: Vec<u8>,
}

impl Trainer {
    /// Starts a run. `scale` is the autoencoder's factor and shift; `dtype` is the models'; `planned` is the UNet's plan, if the
    /// pipeline computes by one.
    ///
    /// # Errors
    /// The settings do not fit this model, or memory runs out.
    #[expect(clippy::too_many_arguments, reason = "the one constructor")]
    pub(crate) fn new(
        config: TrainingConfig,
        unet: &UNet,
        planned: Option<&PlannedUNet>,
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
            return Err(EngineError::Request("the dataset has no images; add at least one".to_owned()));
        }
        let (mut unet, mut text) = (unet.clone(), text.clone());
        // Train on the base model, without active adapters.
        crate::adapter::visit(&mut unet, &mut text, &mut |_, _, _, weight| weight.set_delta(None))?;
        let parameters = Parameters::new(&config, &mut unet, &mut text, device)?;
        let plan = match planned {
            // Checkpointing is the modules'.
            Some(planned) if !config.gradient_checkpointing => {
                let layers = parameters.of_unet();
                TrainingUNet::new(planned, &mut unet, layers.iter().map(|layer| layer.path))?
            }
            _ => None,
        };
        crate::adapter::visit(&mut unet, &mut text, &mut |component, _, _, weight| {
            let is_planned = component == Component::Unet && plan.is_some();
            if is_planned { Ok(()) } else { weight.hold_for_layers() }
        })?;
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
            plan,
            contexts: HashMap::new(),
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

    /// Starts from an adapter's factors ([`Parameters::take`]). Only before the first step. Returns a sentence if other
    /// tensors of the file are left out.
    ///
    /// # Errors
    /// As there; or steps have been run.
    pub fn begin_with(&mut self, adapter: &Adapter) -> Result<Option<String>> {
        if self.micro_steps > 0 {
            let message = "a run can only start from an adapter before its first step".to_owned();
            return Err(EngineError::Request(message));
        }
        self.parameters.take(adapter)?;
        self.good = self.checkpoint()?;
        Ok(adapter.warning_beside_factors())
    }

    /// The configuration.
    pub fn config(&self) -> &TrainingConfig {
        &self.config
    }

    /// The device that the run uses.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The trained parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The prepared data.
    pub fn data(&self) -> &Prepared {
        &self.data
    }

    /// Optimizer steps done.
    pub fn steps_done(&self) -> u32 {
        self.adamw.steps_done
    }

    /// Whether all optimizer steps are done.
    pub fn finished(&self) -> bool {
        self.adamw.steps_done >= self.config.steps
    }

    /// Runs one forward and backward pass, and an optimizer step once enough gradients are accumulated (or at the end of
    /// an epoch, as diffusers' script does).
    ///
    /// If loss or gradients become NaN or infinite, the run rolls back to the last good checkpoint and halves the
    /// learning rate, once.
    ///
    /// # Errors
    /// [`EngineError::Request`] with the reason if this happens a second time; or memory runs out.
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
            // A checkpoint to roll back to must itself be finite.
            let finite = self.parameters.factors().try_fold(true, |good, factor| {
                let largest = factor.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
                Ok::<_, EngineError>(good && largest.is_finite())
            })?;
            if !finite {
                self.rewind("a weight became NaN or infinite")?;
                return Ok(None);
            }
            self.good = self.checkpoint()?;
        }
        let loss = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        Ok(Some(OptimizerStep { step, loss, learning_rate, gradient_norm }))
    }

    /// Rolls back to the last good state and halves the learning rate, once.
    fn rewind(&mut self, reason: &str) -> Result<()> {
        let at = self.adamw.steps_done;
        if self.halved {
            return Err(EngineError::Request(format!(
                "training diverged at step {at}: {reason}, even after the learning rate was halved to {:.1e}. \
                 Use a lower learning rate; 1e-4 is typical.",
                self.config.learning_rate * self.rate_factor
            )));
        }
        let good = std::mem::take(&mut self.good);
        self.restore(&good)?;
        self.good = good;
        (self.halved, self.rate_factor) = (true, self.rate_factor / 2.0);
        // Save the halved rate, in case the program ends now.
        self.good = self.checkpoint()?;
        Ok(())
    }

    /// Whether the run rolled back and halved the learning rate.
    pub fn halved(&self) -> bool {
        self.halved
    }

    /// Computes the held-out loss with the current factors; `None` if no images are held out.
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

    /// Starts computing the held-out loss, point by point with [`Self::advance_held_out_loss`].
    pub fn begin_held_out_loss(&self) -> HeldOutLoss {
        HeldOutLoss::new(self.data.held_out.len())
    }

    /// Computes one grid point. No step may run in between.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn advance_held_out_loss(&mut self, held_out_loss: &mut HeldOutLoss) -> Result<()> {
        self.parameters.attach(&mut self.unet, &mut self.text, false)?;
        self.unet.set_checkpointing(None);
        let mut plan = self.plan.take();
        let (unet, layers) = (&self.unet, self.parameters.of_unet());
        let mut predict = |x: &Tensor, time: f64, context: &Tensor| {
            if let Some(plan) = &mut plan
                && let Some(predicted) = plan.forward(x, &[time], context, &layers, false)?
            {
                return Ok(predicted);
            }
            unet.forward(x, time, context)
        };
        let mut context = held_out::LossContext {
            objective: &self.objective,
            rng: self.rng,
            predict: &mut predict,
            dtype: self.dtype,
            scale: &|latents| self.scaled(latents),
            text: &|example| self.text.forward(std::slice::from_ref(&example.tokens)),
        };
        let result = held_out::next(held_out_loss, &self.data.held_out, &mut context);
        self.plan = plan;
        self.unet.set_checkpointing(self.checkpointing.as_ref());
        result
    }

    /// Whether the text encoder is trained.
    pub fn trains_text(&self) -> bool {
        self.parameters.layers().iter().any(|layer| layer.component == Component::TextEncoder)
    }
}

#[cfg(test)]
mod tests;
