//! Activation functions.

use candle_core::{D, Tensor};
use serde::Deserialize;

use crate::Result;

/// Activations that SD 1.x configs name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Activation {
    /// x·σ(x).
    #[serde(alias = "swish")]
    Silu,
    /// x·Φ(x), exact.
    Gelu,
    /// x·σ(1.702 x), OpenAI CLIP's.
    QuickGelu,
}

impl Activation {
    /// Elementwise.
    pub(crate) fn apply(self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Silu => x.silu()?,
            Self::Gelu => x.gelu_erf()?,
            // x·σ(ax) = silu(ax) / a
            Self::QuickGelu => ((x * 1.702)?.silu()? * (1.0 / 1.702))?,
        })
    }
}

/// Halves the last axis into (a, b) and gives a·gelu(b) (Shazeer 2020).
pub(crate) fn geglu(x: &Tensor) -> Result<Tensor> {
    let width = x.dim(D::Minus1)? / 2;
    let value = x.narrow(D::Minus1, 0, width)?;
    let gate = x.narrow(D::Minus1, width, width)?.contiguous()?;
    Ok((value * gate.gelu_erf()?)?)
}
