//! From a prompt to the vectors that the UNet attends to.

use crate::{Result, WeightVisitor};

/// CLIP's text tower.
#[derive(Debug)]
pub struct TextEncoder {}

impl TextEncoder {
    /// Calls `f` with the path and weight of every linear layer.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn visit_weights(&mut self, _f: &mut WeightVisitor<'_>) -> Result<()> {
        Ok(())
    }
}
