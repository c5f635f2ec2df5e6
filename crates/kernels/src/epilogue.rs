//! What is done to a product before it is stored.

use crate::image::{Image, Layout};

/// A function of one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// None.
    #[default]
    Identity,
    /// x·σ(x).
    Silu,
    /// x·Φ(x), with the exact Φ.
    Gelu,
    /// x·σ(1.702·x): CLIP's.
    QuickGelu,
}

/// What is done to a product before it is stored: `activation(product + bias + per_image) + residual + out`.
///
/// For gated weights (GEGLU), `value · gelu(gate)` takes the place of the activation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// One number per output of the weights (for gated ones: the values', then the gates').
    pub bias: Option<&'a [f32]>,
    /// One row of such numbers per image of the output's batch: the time row.
    pub per_image: Option<Image<'a>>,
    /// What is applied then.
    pub activation: Activation,
    /// Added last, pixel by pixel, with its own layout.
    pub residual: Option<Image<'a>>,
    /// Whether what the output held is added, too.
    pub accumulate: bool,
}

impl<'a> Epilogue<'a> {
    /// A bias and nothing else.
    pub fn bias(bias: &'a [f32]) -> Self {
        Self { bias: Some(bias), ..Self::default() }
    }

    /// The same with a residual.
    pub fn residual(self, residual: Image<'a>) -> Self {
        Self { residual: Some(residual), ..self }
    }

    /// The same with an activation.
    pub fn activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    /// The same with a row per image.
    pub fn per_image(self, rows: Image<'a>) -> Self {
        Self { per_image: Some(rows), ..self }
    }

    /// Panics unless everything fits an output of `out`, from weights with `outputs` rows.
    pub(crate) fn check(&self, out: &Layout, outputs: usize) {
        if let Some(bias) = self.bias {
            assert_eq!(bias.len(), outputs, "the bias has one number per output");
        }
        if let Some(rows) = self.per_image {
            let layout = rows.layout();
            assert_eq!(layout.pixels(), out.batch, "per_image has one row per image");
            assert_eq!(layout.channels, outputs, "per_image has one number per output");
        }
        if let Some(residual) = self.residual {
            let layout = residual.layout();
            assert_eq!(layout.pixels(), out.pixels(), "the residual has the output's pixels");
            assert_eq!(layout.channels, out.channels, "the residual has the output's channels");
        }
    }
}
