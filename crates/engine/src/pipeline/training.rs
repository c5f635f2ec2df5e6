//! A pipeline as the base of a training run.

use std::ops::ControlFlow;

use adire_protocol::{GenerationSpec, TrainingConfig};

use super::{Output, Pipeline, StepReport};
use crate::{
    Result,
    train::{Objective, Parameters, Preparation, Prepared, Source, Trainer},
};

impl Pipeline {
    /// Computes what a run is trained on: see [`Prepared::new`].
    ///
    /// # Errors
    /// As there.
    pub fn prepare(
        &self,
        sources: &[Source],
        classes: &[Source],
        config: &TrainingConfig,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Prepared> {
        Prepared::new(sources, classes, config, &self.vae, &self.tokenizer, &self.device, progress)
    }

    /// Begins to compute what a run is trained on, image by image: see [`Preparation::new`].
    ///
    /// # Errors
    /// As there.
    pub fn preparation(
        &self,
        sources: usize,
        classes: usize,
        config: &TrainingConfig,
    ) -> Result<Preparation> {
        Preparation::new(sources, classes, config, &self.tokenizer)
    }

    /// Adds the next image: see [`Preparation::add`].
    ///
    /// # Errors
    /// As there.
    pub fn prepare_next(&self, preparation: &mut Preparation, source: &Source) -> Result<()> {
        preparation.add(source, &self.vae, &self.tokenizer, &self.device)
    }

    /// A run on this model's base, whatever adapters are in effect here. The weights are shared, not copied.
    ///
    /// # Errors
    /// The settings do not fit this model, or memory runs out.
    pub fn trainer(&mut self, config: TrainingConfig, data: Prepared) -> Result<Trainer> {
        // Layers multiply with weights as a plan packs them.
        self.models.prepare(&mut self.unet, &mut self.text)?;
        let objective = Objective::new(&self.schedule);
        let scale = self.vae.scaling();
        let planned = self.models.unet();
        Trainer::new(
            config,
            &self.unet,
            planned,
            &self.text,
            objective,
            data,
            scale,
            &self.device,
            self.dtype,
        )
    }

    /// Makes one image with what is being trained beside the adapters in effect; afterwards everything is as before.
    ///
    /// # Errors
    /// As [`Self::generate`].
    pub fn sample(
        &mut self,
        parameters: &Parameters,
        spec: &GenerationSpec,
        on_step: &mut dyn FnMut(StepReport) -> ControlFlow<()>,
    ) -> Result<Output> {
        // The text encoder may be another one inside.
        let context = self.context.take();
        // What the last request named has nothing to do with the run.
        let own = self.own.clone();
        self.set_embeddings(Vec::new())?;
        let attached = parameters.attach(&mut self.unet, &mut self.text, false);
        let output = attached.and_then(|()| self.generate(spec, on_step));
        Parameters::detach(&mut self.unet, &mut self.text)?;
        self.set_embeddings(own)?;
        self.context = context;
        output
    }
}
