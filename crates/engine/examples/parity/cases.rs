//! What `cases.json` says.

use adire_protocol::{GenerationRequest, SamplerName};
use serde::Deserialize;

/// One comparison.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    /// The row of the table that it belongs to.
    pub(crate) row: String,
    /// Largest error that is taken.
    pub(crate) bar: f64,
    #[serde(flatten)]
    pub(crate) kind: Kind,
}

/// A comparison. Strings other than texts are names of reference tensors.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Ids of texts.
    Tokens { texts: Vec<String>, ids: Vec<Vec<u32>> },
    /// Hidden states.
    Text { ids: String, out: String },
    /// One call.
    Unet { x: String, timestep: f64, context: String, out: String },
    /// Latents to an image.
    Decode { z: String, out: String },
    /// An image to latents.
    Encode { image: String, mean: String, log_variance: String },
    /// A sampler with the guided UNet; every latent on the way.
    Trajectory { sampler: SamplerName, seed: u64, guidance: f64, context: String, latents: String },
    /// Both models with an adapter; the last row of `ids` is what the text encoder gets.
    Adapter {
        file: String,
        x: String,
        timestep: f64,
        context: String,
        ids: String,
        unet: String,
        text: String,
    },
    /// A whole image.
    Image { request: Box<GenerationRequest>, pixels: String, init: Option<String>, mask: Option<String> },
}

/// What has to be loaded for a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text,
    Unet,
    Vae,
    Pipeline,
}

impl Kind {
    pub(crate) fn part(&self) -> Part {
        match self {
            Self::Tokens { .. } | Self::Text { .. } => Part::Text,
            Self::Unet { .. } | Self::Trajectory { .. } | Self::Adapter { .. } => Part::Unet,
            Self::Decode { .. } | Self::Encode { .. } => Part::Vae,
            Self::Image { .. } => Part::Pipeline,
        }
    }
}
