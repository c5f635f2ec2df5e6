//! Information about the loaded model.

use serde::{Deserialize, Serialize};

use crate::{Limits, Sampler, Sampling, Schedule};

/// The model that the server has loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ModelInfo {
    /// Display name, e.g. `adire-starter`.
    pub name: String,
    /// sha256 over the weights, 64 hex digits.
    pub hash: String,
    /// `cpu`, `cuda:0`.
    pub device: String,
    /// `f32`, `f16`, `bf16`.
    pub dtype: String,
    /// Width and height the model was trained at, in pixels.
    pub native_size: u32,
    /// Prompt tokens that fit between the begin and end marks (75 for CLIP).
    pub prompt_tokens: u32,
    /// Default settings.
    pub defaults: Defaults,
    /// Limits of requests.
    pub limits: Limits,
    /// Prompts that work well with this model.
    pub example_prompts: Vec<ExamplePrompt>,
    /// Whether the safety checker is on.
    #[serde(default)]
    pub safety_checker: bool,
    /// The VAE used instead of the model's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vae: Option<VaeUse>,
}

/// A VAE other than the model's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VaeUse {
    /// Name of its file or folder.
    pub name: String,
    /// sha256 of its weights, 64 hex digits.
    pub hash: String,
}

/// Token count of a prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenCount {
    /// Tokens, as A1111 counts: a chunk that is not the last counts as full.
    pub tokens: u32,
    /// Tokens that fit into the chunks it has: 75, 150, …
    pub capacity: u32,
    /// Chunks used by the prompt.
    pub chunks: u32,
    /// Maximum number of chunks.
    pub most_chunks: u32,
}

/// An example prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExamplePrompt {
    /// The prompt itself.
    pub prompt: String,
}

impl Defaults {
    /// No defaults: 0, which no parameter can have.
    pub(crate) const NONE: Self = Self {
        steps: 0,
        guidance: 0.0,
        width: 0,
        height: 0,
        sampling: Sampling { sampler: Sampler::Dpmpp2m, schedule: Schedule::Karras },
    };
}

/// Defaults for absent fields of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Defaults {
    /// Number of denoising steps.
    pub steps: u32,
    /// Guidance scale.
    pub guidance: f64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Sampler and schedule, two fields on the wire.
    #[serde(flatten)]
    pub sampling: Sampling,
}
