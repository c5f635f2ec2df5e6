//! Images that are computed together: each call of the model is one for all of them.

use std::ops::ControlFlow;

use adire_protocol::GenerationSpec;
use candle_core::{Device, Tensor};

use super::{Context, Output, StepReport};
use crate::{NoiseSource, Result, noise::slerp};

/// What a batch reports of one of its images.
#[derive(Debug)]
pub enum ImageUpdate {
    /// It is being made, in calls of the model for so many images.
    Begun {
        /// Images of the batch that are computed together, itself included.
        together: usize,
    },
    /// A step was done. A break cancels the image.
    Step(StepReport),
    /// It is made, or was cancelled ([`crate::EngineError::Cancelled`]). Nothing follows.
    Ended(Result<Output>),
}

/// The images of a batch: whatever [`GenerationSpec::shares_batch`] compares is that of the first.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    specs: &'a [&'a GenerationSpec],
    /// What the model attends to, [images or 2 · images, tokens, width]: the negative prompts come first.
    pub(super) context: Tensor,
    /// Images that were ended early.
    pub(super) ended: Vec<bool>,
}

impl<'a> Batch<'a> {
    /// # Errors
    /// The contexts differ in length.
    pub(super) fn new(specs: &'a [&'a GenerationSpec], contexts: &[&Context]) -> Result<Self> {
        let context = match contexts {
            // The same tensor each time: its keys and values are known.
            [only] => only.states.clone(),
            all => {
                let halves = all.first().map_or(Ok(0), |context| context.states.dim(0))?;
                let rows =
                    (0..halves).flat_map(|half| all.iter().map(move |all| all.states.narrow(0, half, 1)));
                Tensor::cat(&rows.collect::<candle_core::Result<Vec<_>>>()?, 0)?
            }
        };
        Ok(Self { specs, context, ended: vec![false; specs.len()] })
    }

    pub(super) fn len(&self) -> usize {
        self.specs.len()
    }

    pub(super) fn first(&self) -> &'a GenerationSpec {
        self.specs[0]
    }

    /// The images' random numbers: each has its own, so that none depends on its neighbours.
    pub(super) fn noise(&self) -> NoiseSource {
        let seeds: Vec<u64> = self.specs.iter().map(|spec| spec.seed).collect();
        NoiseSource::per_image(self.first().rng, &seeds)
    }

    /// The noise of the seeds, with that of variation seeds mixed in.
    pub(super) fn varied(&self, noise: Tensor) -> Result<Tensor> {
        if self.specs.iter().all(|spec| spec.subseed.is_none()) {
            return Ok(noise);
        }
        let varied = |(image, spec): (usize, &&GenerationSpec)| {
            let noise = noise.narrow(0, image, 1)?;
            let Some((subseed, strength)) = spec.subseed.zip(spec.subseed_strength) else { return Ok(noise) };
            let other = NoiseSource::new(spec.rng, subseed).randn(noise.dims(), noise.device())?;
            slerp(&noise, &other, strength)
        };
        let images = self.specs.iter().enumerate().map(varied).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(&images, 0)?)
    }

    /// The guidance scales, [images, 1, 1, 1]; `None`: no guidance.
    pub(super) fn guidance(&self, device: &Device) -> Result<Option<Tensor>> {
        if self.first().guidance <= 1.0 {
            return Ok(None);
        }
        let scales: Vec<f32> = self.specs.iter().map(|spec| spec.guidance as f32).collect();
        Ok(Some(Tensor::from_vec(scales, (self.len(), 1, 1, 1), device)?))
    }

    /// Calls `on_image` for each image under way; a break ends that image, and the batch once all have ended.
    pub(super) fn report(
        &mut self,
        on_image: &mut dyn FnMut(usize) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        for (image, ended) in self.ended.iter_mut().enumerate().filter(|(_, ended)| !**ended) {
            *ended = on_image(image)?.is_break();
        }
        let all = self.ended.iter().all(|ended| *ended);
        Ok(if all { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}
