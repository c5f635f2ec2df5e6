//! How the change of a module is stored, and what its tensors' meaning depends on.

use std::collections::BTreeMap;

use candle_core::Tensor;
use serde::Serialize;

use super::{role::TensorRole, rotation::OftRule};

/// How a layer's change is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Two factors, B·A.
    Lora,
    /// Hadamard product of two low-rank matrices.
    Loha,
    /// Kronecker product.
    Lokr,
    /// The difference itself.
    Full,
    /// The difference of a normalisation.
    Norm,
    /// Factors of inputs or outputs, (IA)³.
    Ia3,
    /// W·A + B, both of two factors.
    Glora,
    /// Rotation in blocks.
    Oft,
    /// Rotations in blocks, in stages.
    Boft,
}

impl Kind {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lora => "lora",
            Self::Loha => "loha",
            Self::Lokr => "lokr",
            Self::Full => "full",
            Self::Norm => "norm",
            Self::Ia3 => "ia3",
            Self::Glora => "glora",
            Self::Oft => "oft",
            Self::Boft => "boft",
        }
    }
}

/// Tensors of one module, by role.
pub(super) type LayerTensors = BTreeMap<TensorRole, Tensor>;

/// How alpha is turned into a scale, where the file's metadata says something beside the tensors.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ScaleRule {
    /// Alpha for layers that store none.
    pub(super) alpha: Option<f64>,
    /// PEFT's r, where no factor shows it.
    pub(super) rank: Option<f64>,
    /// rsLoRA as PEFT has it: alpha / √rank.
    pub(super) rank_stabilised: bool,
    /// PEFT's (IA)³ multiplies this module's inputs.
    pub(super) on_input: bool,
    /// How PEFT's OFT reads its blocks.
    pub(super) oft: OftRule,
}
