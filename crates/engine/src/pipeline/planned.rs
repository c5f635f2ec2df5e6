//! Which way the UNet computes: by its plan in f32 on the CPU, else by its modules.

use candle_core::{DType, Device, Tensor};

use crate::{Result, UNet, plan::PlannedUNet};

/// Set to `off`, it makes the modules compute everywhere: for tests that compare the two.
const SWITCH: &str = "ADIRE_PLAN";

/// The UNet's way to compute.
#[derive(Debug, Default)]
pub(super) enum Denoiser {
    /// By its modules: on a GPU, in half precision, and while it is trained.
    #[default]
    Modules,
    /// By its plan, once something asks for it.
    Unplanned,
    /// By its plan.
    Planned {
        unet: Box<PlannedUNet>,
        /// Whether the plan stands for the weights in effect; else its modules compute.
        is_current: bool,
    },
}

impl Denoiser {
    pub(super) fn new(device: &Device, dtype: DType) -> Self {
        let is_off = std::env::var(SWITCH).is_ok_and(|value| value == "off");
        if device.is_cpu() && dtype == DType::F32 && !is_off { Self::Unplanned } else { Self::Modules }
    }

    /// Leaves the modules behind.
    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Takes over the weights in effect.
    ///
    /// # Errors
    /// Memory runs out.
    pub(super) fn prepare(&mut self, unet: &mut UNet) -> Result<()> {
        match self {
            Self::Modules => {}
            Self::Unplanned => {
                if let Some(planned) = PlannedUNet::new(unet)? {
                    *self = Self::Planned { unet: Box::new(planned), is_current: true };
                }
            }
            Self::Planned { unet: planned, is_current } => *is_current = planned.update(unet)?,
        }
        Ok(())
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
        if let Self::Planned { unet: planned, is_current: true } = self
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
