//! Limits of requests, and the errors of one that is outside them.

use serde::{Deserialize, Serialize};

/// Limits of a generation request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Limits {
    /// Longest prompt and negative prompt, in characters.
    pub prompt_chars: u32,
    /// Maximum number of steps.
    pub steps: u32,
    /// Largest guidance scale.
    pub guidance: f64,
    /// Smallest width and height in pixels.
    pub min_size: u32,
    /// Largest width and height in pixels.
    pub max_size: u32,
    /// Width and height are multiples of this.
    pub size_step: u32,
    /// Maximum number of images per request.
    pub count: u32,
    /// Maximum number of adapters per request.
    pub adapters: u32,
    /// Largest strength of an adapter, either sign; the admin sets it.
    pub strength: f64,
    /// Largest clip skip: the text encoder's layers.
    #[serde(default = "clip_layers")]
    pub clip_skip: u32,
    /// Largest width and height in pixels of a second pass.
    #[serde(default = "hires_size")]
    pub hires_size: u32,
}

impl Limits {
    /// The largest [`Self::strength`] that can be set.
    pub const MAX_STRENGTH: f64 = 100.0;
}

/// Twice the default `max_size`: four times as many pixels as the largest base pass.
fn hires_size() -> u32 {
    2048
}

/// Layers of the text encoder of Stable Diffusion 1.x.
fn clip_layers() -> u32 {
    12
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            prompt_chars: 4000,
            steps: 150,
            guidance: 30.0,
            min_size: 64,
            max_size: 1024,
            size_step: 8,
            count: 8,
            adapters: 8,
            strength: 5.0,
            clip_skip: clip_layers(),
            hires_size: hires_size(),
        }
    }
}

/// An invalid field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// Name of the field in the request.
    pub field: String,
    /// A sentence: what is wrong and what is expected.
    pub message: String,
}

/// All invalid fields of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", .0.iter().map(|e| e.message.as_str()).collect::<Vec<_>>().join(" "))]
pub struct ValidationError(pub Vec<FieldError>);
