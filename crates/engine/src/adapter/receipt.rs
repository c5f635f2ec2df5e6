//! What an adapter did to a model, and how strongly.

use std::path::PathBuf;

use adire_protocol::LeftOut;
use serde::Serialize;

use super::{
    Family,
    format::{Component, Format},
    kind::Kind,
};

/// What one adapter did to a model.
#[derive(Clone, Debug, Serialize)]
pub struct Receipt {
    /// The file.
    pub path: PathBuf,
    /// sha256 of the file.
    pub hash: String,
    /// Whose names it uses.
    pub formats: Vec<Format>,
    /// The models it was made for.
    pub family: Family,
    /// The strength it was applied with in the UNet.
    pub strength: f64,
    /// The strength it was applied with in the text encoder.
    pub te_strength: f64,
    /// Layers of the model that it changes.
    pub applied: Vec<AppliedLayer>,
    /// Layers in the file that this model does not have.
    pub skipped: Vec<SkippedLayer>,
    /// Tensors in the file that belong to no known format.
    pub unknown: Vec<String>,
    /// Tensors in the file.
    pub tensors: usize,
    /// What of the file has no effect, by sort; empty where all of it has.
    pub left_out: Vec<LeftOut>,
}

impl Receipt {
    /// One sentence where the file takes effect only in part.
    pub fn warning(&self) -> Option<String> {
        LeftOut::sentence(&self.left_out, self.tensors)
    }
}

/// What an adapter's change is multiplied with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strength {
    /// In the UNet.
    pub unet: f64,
    /// In the text encoder.
    pub text_encoder: f64,
}

impl Strength {
    pub(super) fn of(self, component: Component) -> f64 {
        match component {
            Component::Unet => self.unet,
            Component::TextEncoder => self.text_encoder,
        }
    }
}

impl From<f64> for Strength {
    /// The same in both.
    fn from(strength: f64) -> Self {
        Self { unet: strength, text_encoder: strength }
    }
}

/// One layer that an adapter changes.
#[derive(Clone, Debug, Serialize)]
pub struct AppliedLayer {
    /// Which model of the pipeline.
    pub component: Component,
    /// The model's own path of the module.
    pub module: String,
    /// How the change is stored.
    pub kind: Kind,
    /// Rank of the change.
    pub rank: usize,
    /// Alpha as stored, or the rank where none is.
    pub alpha: f64,
    /// What the product of the factors is multiplied with: alpha / rank × strength.
    pub scale: f64,
    /// ‖Δ‖ / ‖W‖ at that strength (Frobenius norms).
    pub ratio: f64,
}

/// One layer of the file that found no place.
#[derive(Clone, Debug, Serialize)]
pub struct SkippedLayer {
    /// As the file names it.
    pub module: String,
    /// Why: a clause.
    pub reason: String,
}
