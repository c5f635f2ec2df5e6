//! UNet2DConditionModel of diffusers.

use crate::{Result, WeightVisitor};

/// The noise predictor.
#[derive(Debug)]
pub struct UNet {}

impl UNet {
    /// Calls `f` with the path and weight of every linear layer and convolution.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn visit_weights(&mut self, _f: &mut WeightVisitor<'_>) -> Result<()> {
        Ok(())
    }
}
