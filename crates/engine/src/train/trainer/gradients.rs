//! From a batch to its gradients.

use candle_core::{Tensor, Var};

use super::Trainer;
use crate::{
    Result,
    adapter::Component,
    gradient_checkpointing::GradientCheckpointing,
    ops::backward_from,
    plan::TrainingUNet,
    train::{data::Example, rng::RngStream},
};

/// Most captions whose context is remembered: 240 MB for SD 1.5.
const MAX_CONTEXTS: usize = 1024;

/// What a step draws for the images of a batch.
pub(super) struct Draws {
    /// [batch, channels, height, width], f32, as the UNet sees them.
    pub(super) latents: Tensor,
    /// As `latents`.
    pub(super) noise: Tensor,
    /// One for each image.
    pub(super) timesteps: Vec<usize>,
    /// The captions'.
    pub(super) tokens: Vec<Vec<u32>>,
}

fn times(timesteps: &[usize]) -> Vec<f64> {
    timesteps.iter().map(|t| *t as f64).collect()
}

/// Adds a part to a sum, where there is one.
fn add(sum: &mut Option<Tensor>, part: Option<Tensor>) -> Result<()> {
    if let Some(part) = part {
        *sum = Some(match sum.take() {
            Some(sum) => (sum + part)?,
            None => part,
        });
    }
    Ok(())
}

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
        let mut parts = vec![(self.draws(&batch, at, 0)?, self.config.min_snr_gamma, 1.0)];
        if !classes.is_empty() {
            // Of whatever sizes they are: prior images make a batch of their own.
            parts.push((self.draws(&classes, at, 1)?, None, self.config.prior_weight));
        }
        let mut gradients = vec![None; 2 * self.parameters.layers().len()];
        let mut value = 0.0;
        for (draws, gamma, weight) in parts {
            let context = self.context(&draws.tokens)?;
            value += self.add_gradients(&draws, &context, gamma, weight, &mut gradients)?;
        }
        if !value.is_finite() {
            return Ok((value, Vec::new()));
        }
        Ok((value, gradients))
    }

    /// The captions' context, with its graph; that of a frozen text encoder is computed once for each caption.
    fn context(&mut self, tokens: &[Vec<u32>]) -> Result<Tensor> {
        if self.trains_text() {
            return self.text.forward(tokens);
        }
        let mut contexts = Vec::with_capacity(tokens.len());
        for caption in tokens {
            let context = match self.contexts.get(caption) {
                Some(context) => context.clone(),
                None => {
                    let context = self.text.forward(std::slice::from_ref(caption))?.detach();
                    if self.contexts.len() < MAX_CONTEXTS {
                        self.contexts.insert(caption.clone(), context.clone());
                    }
                    context
                }
            };
            contexts.push(context);
        }
        Ok(Tensor::cat(&contexts, 0)?)
    }

    /// What a step draws for some images. `part`: 0 for the subject's, 1 for the class'.
    fn draws(&self, examples: &[&Example], at: u64, part: u64) -> Result<Draws> {
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
        let timesteps = (0..examples.len() as u64)
            .map(|i| self.rng.uniform_below(self.objective.timesteps(), RngStream::Timestep, place, i))
            .collect();
        let tokens = examples
            .iter()
            .enumerate()
            .map(|(i, example)| {
                let dropped =
                    self.rng.unit(RngStream::Caption, place, i as u64) < self.config.caption_dropout;
                if dropped { self.data.empty.clone() } else { example.tokens.clone() }
            })
            .collect();
        Ok(Draws { latents, noise, timesteps, tokens })
    }

    /// `weight` times the loss for some draws, whose gradients are added to `sums`, in the order of the factors, unless it is
    /// not finite. `context` has its graph where the text encoder is trained.
    pub(super) fn add_gradients(
        &mut self,
        draws: &Draws,
        context: &Tensor,
        gamma: Option<f64>,
        weight: f64,
        sums: &mut [Option<Tensor>],
    ) -> Result<f64> {
        if let Some(mut plan) = self.plan.take() {
            let loss = self.add_gradients_by(&mut plan, draws, context, gamma, weight, sums);
            self.plan = Some(plan);
            if let Some(loss) = loss? {
                return Ok(loss);
            }
        }
        let loss = (self.loss(draws, context, gamma)? * weight)?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        if value.is_finite() {
            let mut found = loss.backward()?;
            let mut inside = self.checkpointing.as_ref().map(GradientCheckpointing::take).unwrap_or_default();
            for (sum, factor) in sums.iter_mut().zip(self.parameters.factors()) {
                add(sum, found.remove(factor))?;
                add(sum, inside.remove(&factor.id()))?;
            }
        }
        Ok(value)
    }

    /// The same by a plan; `None` where it does not cover the shape.
    fn add_gradients_by(
        &self,
        plan: &mut TrainingUNet,
        draws: &Draws,
        context: &Tensor,
        gamma: Option<f64>,
        weight: f64,
        sums: &mut [Option<Tensor>],
    ) -> Result<Option<f64>> {
        let Draws { latents, noise, timesteps, .. } = draws;
        let noisy = self.objective.noisy(latents, noise, timesteps)?;
        let layers = self.parameters.of_unet();
        let Some(predicted) = plan.forward(&noisy, &times(timesteps), &context.detach(), &layers, true)?
        else {
            return Ok(None);
        };
        let predicted = Var::from_tensor(&predicted)?;
        let target = self.objective.target(latents, noise, timesteps)?;
        let loss = (self.objective.loss(&predicted, &target, timesteps, gamma)? * weight)?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        let gradient = loss.backward()?.remove(&predicted).filter(|_| value.is_finite());
        let Some(gradient) = gradient else { return Ok(Some(value)) };
        let found = plan.backward(&gradient, context.track_op())?;
        let mut of_unet = found.factors.into_iter();
        for (layer, sums) in self.parameters.layers().iter().zip(sums.chunks_exact_mut(2)) {
            if layer.component == Component::Unet
                && let Some(Some(gradients)) = of_unet.next()
            {
                let tensor =
                    |values: Vec<f32>, like: &Var| Tensor::from_vec(values, like.dims(), &self.device);
                add(&mut sums[0], Some(tensor(gradients.down, &layer.down)?))?;
                add(&mut sums[1], Some(tensor(gradients.up, &layer.up)?))?;
            }
        }
        if let Some(gradient) = found.context {
            let mut found = backward_from(context, &gradient)?;
            for (sum, factor) in sums.iter_mut().zip(self.parameters.factors()) {
                add(sum, found.remove(factor))?;
            }
        }
        Ok(Some(value))
    }

    /// The loss for some draws, by the modules.
    fn loss(&self, draws: &Draws, context: &Tensor, gamma: Option<f64>) -> Result<Tensor> {
        let Draws { latents, noise, timesteps, .. } = draws;
        let noisy = self.objective.noisy(latents, noise, timesteps)?.to_dtype(self.dtype)?;
        let predicted = self.unet.forward_each(&noisy, &times(timesteps), context)?;
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
