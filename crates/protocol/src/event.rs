//! What a job says while it runs.

use serde::{Deserialize, Serialize};

use crate::ImageRecord;

/// One numbered event of one generation. Numbers grow, with gaps: progress that newer progress has overtaken is not
/// kept. A client that missed some asks again with the last number it saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// Grows along the generation's stream.
    pub id: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: GenerationEvent,
}

/// What happened to a generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum GenerationEvent {
    /// Waiting; sent again when the position changes.
    Queued {
        /// Generations that go before this one.
        ahead: u32,
        /// Expected milliseconds until this one starts; absent while nothing has been measured.
        wait_ms: Option<u64>,
    },
    /// The worker has taken it.
    Started,
    /// A denoising step ended.
    Progress(Progress),
    /// An image is finished and stored.
    Image {
        /// The image.
        image: Box<ImageRecord>,
    },
    /// All images are there. Last event.
    Done,
    /// It could not be made. Last event.
    Failed {
        /// A sentence for people.
        message: String,
    },
    /// Someone stopped it. Last event.
    Cancelled,
}

impl GenerationEvent {
    /// The name used as the SSE event type.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Queued { .. } => "queued",
            Self::Started => "started",
            Self::Progress(_) => "progress",
            Self::Image { .. } => "image",
            Self::Done => "done",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing follows.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Done | Self::Failed { .. } | Self::Cancelled)
    }
}

/// How far the running generation is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Progress {
    /// Image being made, from 0.
    pub image: u32,
    /// Images in all.
    pub images: u32,
    /// Steps of this image that are done.
    pub step: u32,
    /// Steps of this image in all.
    pub steps: u32,
    /// Expected milliseconds until the whole generation is done.
    pub remaining_ms: Option<u64>,
    /// `data:image/png;base64,…`: the latent, roughly coloured.
    pub preview: Option<String>,
}

/// How busy the worker is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueueStatus {
    /// Generations waiting or running.
    pub ahead: u32,
    /// Most that may wait.
    pub capacity: u32,
    /// Expected milliseconds until a new request would start; absent while nothing has been measured.
    pub wait_ms: Option<u64>,
    /// Milliseconds that one step of one image at the native size takes; absent while nothing has been
    /// measured.
    pub step_ms: Option<f64>,
    /// Milliseconds that an image costs besides its steps (text encoding, VAE, PNG).
    pub fixed_ms: Option<f64>,
}
