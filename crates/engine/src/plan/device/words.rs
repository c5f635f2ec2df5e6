//! A text encoder on a GPU.

use adire_kernels::Dtype;
use candle_core::{Device, Tensor};

use super::{
    super::{op::Stage, text},
    Arena, Target, launch,
    parameters::{DeviceParameters, Exponents},
    refused,
};
use crate::{Result, TextEncoder, clip::LayerSizes, ops::floats};

/// A text encoder whose layers compute on a GPU.
#[derive(Debug)]
pub(crate) struct DeviceText {
    target: Target,
    sizes: LayerSizes,
    layers: usize,
    parameters: DeviceParameters,
}

impl DeviceText {
    /// Uploads the weights of the layers of `text`, which then has no tensors of them.
    ///
    /// # Errors
    /// A weight cannot be read, or the device's memory does not suffice.
    pub(crate) fn new(target: &Target, text: &mut TextEncoder) -> Result<Self> {
        let (sizes, layers) = (*text.sizes(), text.layers());
        let plan = text::plan(&sizes, Dtype::F32, layers, 1, 1);
        let parameters =
            DeviceParameters::new(target, &plan, Exponents::default(), &mut |f| text.visit_parameters(f))?;
        Ok(Self { target: target.clone(), sizes, layers, parameters })
    }

    /// Merges what has changed in `text`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn update(&mut self, text: &mut TextEncoder) -> Result<()> {
        self.parameters.update(&mut |f| text.visit_parameters(f)).map(drop)
    }

    /// From token and position embeddings [prompts, tokens, width] through the first `layers` layers and the last
    /// normalisation.
    ///
    /// # Errors
    /// The embeddings are not f32 on the CPU or of another width, or the device's memory does not suffice.
    pub(crate) fn forward(&self, embedded: &Tensor, layers: usize) -> Result<Tensor> {
        let (prompts, tokens, width) = embedded.dims3()?;
        let embedded = embedded.contiguous()?;
        let Some(values) = floats(&embedded).filter(|_| width == self.sizes.width) else {
            return refused(format!(
                "embeddings {:?} in {:?} for a text encoder of width {} in f32",
                embedded.dims(),
                embedded.dtype(),
                self.sizes.width
            ));
        };
        let target = &self.target;
        let plan = text::plan(&self.sizes, Dtype::F32, layers.min(self.layers), prompts, tokens);
        let arena = Arena::new(target, &plan, &[])?;
        let input = arena.whole(&plan, plan.input)?;
        target.runtime.upload(&target.element.encode(&values), input.span())?;
        launch(target, &arena.kernels(&plan, plan.stage(Stage::Step), &self.parameters)?)?;
        let output = arena.whole(&plan, plan.output)?;
        let states = target.download(output.span(), target.element)?;
        Ok(Tensor::from_vec(states, (prompts, tokens, width), &Device::Cpu)?)
    }
}
