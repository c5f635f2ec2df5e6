//! A text encoder whose layers compute by their plan.

use adire_kernels::Dtype;
use candle_core::{Device, Tensor};

use super::{arithmetic::Arithmetic, op::Stage, packed::Packed, parameters::Parameters, run::Arena, text};
use crate::{EngineError, Result, TextEncoder, clip::LayerSizes, ops::floats};

/// A text encoder whose layers compute by their plan, on the CPU.
pub(crate) type PlannedText = Words<Packed>;

/// Packed weights of the layers.
#[derive(Debug)]
pub(crate) struct Words<A: Arithmetic> {
    sizes: LayerSizes,
    layers: usize,
    /// Of what products and attention read.
    operands: Dtype,
    arithmetic: A,
    parameters: Parameters<A>,
}

impl PlannedText {
    /// Packs the weights of the layers of `text`, which then has no tensors of them.
    ///
    /// # Errors
    /// They are not those of f32 on the CPU.
    pub(crate) fn new(text: &mut TextEncoder, operands: Dtype) -> Result<Self> {
        Self::with(text, operands, Packed)
    }
}

impl<A: Arithmetic> Words<A> {
    /// As [`PlannedText::new`].
    pub(super) fn with(text: &mut TextEncoder, operands: Dtype, arithmetic: A) -> Result<Self> {
        let (sizes, layers) = (*text.sizes(), text.layers());
        let plan = text::plan(&sizes, operands, layers, 1, 1);
        let parameters = Parameters::new(&plan, arithmetic, &mut |f| text.visit_parameters(f))?;
        Ok(Self { sizes, layers, operands, arithmetic, parameters })
    }

    /// Packs what has changed in `text`.
    ///
    /// # Errors
    /// As [`PlannedText::new`].
    pub(crate) fn update(&mut self, text: &mut TextEncoder) -> Result<()> {
        self.parameters.update(&mut |f| text.visit_parameters(f))?;
        Ok(())
    }

    /// From token and position embeddings [prompts, tokens, width] through the first `layers` layers and the last
    /// normalisation.
    ///
    /// # Errors
    /// The embeddings are not f32 on the CPU, or of another width.
    pub(crate) fn forward(&self, embedded: &Tensor, layers: usize) -> Result<Tensor> {
        let (prompts, tokens, width) = embedded.dims3()?;
        let embedded = embedded.contiguous()?;
        let Some(values) = floats(&embedded).filter(|_| width == self.sizes.width) else {
            let message = format!(
                "embeddings {:?} in {:?} for a text encoder of width {} in f32",
                embedded.dims(),
                embedded.dtype(),
                self.sizes.width
            );
            return Err(EngineError::Request(message));
        };
        let plan = text::plan(&self.sizes, self.operands, layers.min(self.layers), prompts, tokens);
        let mut arena = Arena::new(&plan);
        arena.get_mut(&plan, plan.input).data_mut().copy_from_slice(&values);
        arena.run(&plan, Stage::Step, &self.arithmetic, &self.parameters);
        let states = arena.get(&plan, plan.output).data().to_vec();
        Ok(Tensor::from_vec(states, (prompts, tokens, width), &Device::Cpu)?)
    }
}
