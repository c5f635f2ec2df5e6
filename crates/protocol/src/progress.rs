//! How far a generation and the queue are.

use serde::{Deserialize, Serialize};

/// Progress of a running generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// Index of the current image, from 0.
    pub image: u32,
    /// Images in total.
    pub images: u32,
    /// Images of this generation that are made at once, the current one included.
    pub batch: u32,
    /// Steps of this image done.
    pub step: u32,
    /// Steps of this image in total.
    pub steps: u32,
    /// Estimated milliseconds until the generation is done.
    pub remaining_ms: Option<u64>,
    /// Preview of the latent as `data:image/png;base64,…`.
    pub preview: Option<String>,
}

impl Progress {
    /// Completed part of the generation, 0 to 1.
    pub fn fraction(&self) -> f64 {
        let part = f64::from(self.step) / f64::from(self.steps.max(1)) * f64::from(self.batch.max(1));
        ((f64::from(self.image) + part) / f64::from(self.images.max(1))).clamp(0.0, 1.0)
    }
}

/// State of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueueStatus {
    /// Generations queued or running.
    pub ahead: u32,
    /// Maximum number of queued generations.
    pub capacity: u32,
    /// Estimated milliseconds until a new request would start; absent before anything was timed.
    pub wait_ms: Option<u64>,
    /// Milliseconds per step of one image at the native size; absent before anything was timed.
    pub step_ms: Option<f64>,
    /// Milliseconds per image besides its steps (text encoder, VAE, PNG).
    pub fixed_ms: Option<f64>,
}
