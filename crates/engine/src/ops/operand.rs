//! The weight of a layer as products take it.

use std::{ops::Deref, sync::Arc};

use candle_core::Tensor;

use super::packed::{Lend, PackedMatrix};

/// The weight of a linear layer or of a convolution.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    Tensor(Tensor),
    /// Frozen, and f32 or rounded to bf16 on the CPU.
    Packed(Packed),
}

/// A packed weight that something else holds.
#[derive(Clone, Debug)]
pub(crate) struct Packed(Arc<dyn Lend>);

impl Packed {
    /// `None` where its gradient would not be there.
    pub(crate) fn new(lend: Arc<dyn Lend>) -> Option<Self> {
        lend.matrix().has_gradient().then_some(Self(lend))
    }
}

impl Deref for Packed {
    type Target = PackedMatrix;

    fn deref(&self) -> &PackedMatrix {
        self.0.matrix()
    }
}

impl Operand {
    /// Whether its own gradient may be wanted.
    pub(super) fn is_tracked(&self) -> bool {
        matches!(self, Self::Tensor(weight) if weight.track_op())
    }
}

impl From<Tensor> for Operand {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}
