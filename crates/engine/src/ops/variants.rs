//! Which form of an operation a model uses.

use serde::Deserialize;

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

/// Attention mask: the keys that a query may attend to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttentionMask {
    /// All keys.
    None,
    /// Keys at its own position and before.
    Causal,
}
