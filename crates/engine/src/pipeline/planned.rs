//! Which way text encoder and UNet compute: by their plans in f32 and bf16 on the CPU, else by their modules.

use adire_kernels::Dtype;
use candle_core::{DType, Device, Tensor};

use crate::{
    Result, TextEncoder, UNet,
    checkpoint::Reading,
    plan::{self, PlannedText, PlannedUNet},
};

/// The models' way to compute.
#[derive(Debug, Default)]
pub(super) enum Models {
    /// By their modules: on a GPU, and in f16.
    #[default]
    Modules,
    /// By their plans, once something asks for it.
    Unplanned(Dtype),
    /// By their plans.
    Planned { unet: Box<PlannedUNet>, text: Box<PlannedText> },
}

impl Models {
    pub(super) fn new(device: &Device, dtype: DType) -> Self {
        plan::operands(device, dtype).map_or(Self::Modules, Self::Unplanned)
    }

    /// When the weights of layers are read: a plan does so itself.
    pub(super) fn reading(device: &Device, dtype: DType) -> Reading {
        if plan::is_on(device, dtype) { Reading::Deferred } else { Reading::Now }
    }

    /// Leaves the modules behind.
    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Packs the base's weights unless they are packed: the modules give their tensors up.
    ///
    /// # Errors
    /// Memory runs out.
    pub(super) fn pack(&mut self, unet: &mut UNet, text: &mut TextEncoder) -> Result<()> {
        let Self::Unplanned(operands) = self else { return Ok(()) };
        *self = match PlannedUNet::new(unet, *operands)? {
            Some(unet) => Self::Planned { unet: Box::new(unet), text: Box::new(PlannedText::new(text)?) },
            None => {
                unet.visit_parameters(&mut |_, _, weight| weight.hold())?;
                text.visit_parameters(&mut |_, _, weight| weight.hold())?;
                Self::Modules
            }
        };
        Ok(())
    }

    /// Takes over the weights in effect.
    ///
    /// # Errors
    /// As [`Self::pack`].
    pub(super) fn prepare(&mut self, unet: &mut UNet, text: &mut TextEncoder) -> Result<()> {
        self.pack(unet, text)?;
        if let Self::Planned { unet: planned, text: planned_text } = self {
            planned.update(unet)?;
            planned_text.update(text)?;
        }
        Ok(())
    }

    /// The text encoder's plan, if there is one.
    pub(super) fn text(&self) -> Option<&PlannedText> {
        match self {
            Self::Planned { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The prediction for `x` [batch, channels, height, width]; with `guided` for two of them, `context`'s halves.
    ///
    /// # Errors
    /// Shapes do not fit, or memory runs out.
    pub(super) fn forward(
        &mut self,
        unet: &UNet,
        x: &Tensor,
        timestep: f64,
        context: &Tensor,
        guided: bool,
    ) -> Result<Tensor> {
        if let Self::Planned { unet: planned, .. } = self
            && let Some(y) = planned.forward(unet, x, timestep, context, guided)?
        {
            return Ok(y);
        }
        if guided {
            return unet.forward(&Tensor::cat(&[x, x], 0)?, timestep, context);
        }
        unet.forward(x, timestep, context)
    }
}
