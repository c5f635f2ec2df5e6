//! Events of a generation.

use serde::{Deserialize, Serialize};

use crate::{ImageRecord, Progress, WaitReason};

/// A numbered event of a generation. Ids increase, with gaps: outdated progress is dropped. A client resumes the
/// stream with the last id it received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// Increases along the generation's stream.
    pub id: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: GenerationEvent,
}

/// What an event of a generation reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum GenerationEvent {
    /// In the queue; sent again when the position changes.
    Queued {
        /// Generations ahead of this one.
        ahead: u32,
        /// Estimated milliseconds until it starts; absent before anything was timed.
        wait_ms: Option<u64>,
        /// What it waits for; absent once nothing is before it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wait_reason: Option<WaitReason>,
    },
    /// A worker started it.
    Started,
    /// A step finished.
    Progress(Progress),
    /// An image is finished and stored.
    Image {
        /// The image.
        image: Box<ImageRecord>,
    },
    /// All images are stored. Last event.
    Done,
    /// It failed. Last event.
    Failed {
        /// A sentence to show to the visitor.
        message: String,
    },
    /// It was cancelled. Last event.
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

    /// Whether this is the last event.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Done | Self::Failed { .. } | Self::Cancelled)
    }
}
