//! Admin API: queue, images and adapter versions of all visitors.

use serde::{Deserialize, Serialize};

use crate::{AdapterVersion, GenerationState, Links, Progress};

/// A queued or running generation, with its visitor and network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueueEntry {
    /// Id of the generation, a UUID.
    pub id: String,
    /// `queued` or `running`.
    pub state: GenerationState,
    /// Digest of the visitor's id; absent for clients without a cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visitor: Option<String>,
    /// Network of the request: an IPv4 address, or a /64 of IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Start of its prompt.
    pub prompt: String,
    /// Pixels of a finished image.
    pub width: u32,
    /// Pixels of a finished image.
    pub height: u32,
    /// Steps of an image, those of a hires pass included.
    pub steps: u32,
    /// Number of images.
    pub count: u32,
    /// Remaining cost in megapixel-steps: images × steps × megapixels.
    pub cost: f64,
    /// Milliseconds since 1970 (UTC).
    pub created_at: i64,
    /// Estimated milliseconds until it starts, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// Progress, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// URL.
    pub links: Links,
}

/// Selects generations by visitor, network or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct QueueOwner {
    /// A network, as the queue lists it.
    #[serde(default)]
    pub network: Option<String>,
    /// A visitor's digest, as the queue lists it.
    #[serde(default)]
    pub visitor: Option<String>,
}

/// Number of cancelled generations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cancelled {
    /// Queued and running ones.
    pub cancelled: u32,
}

/// Numbers of permanently deleted records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Deleted {
    /// Generations with their prompts and all their images.
    pub generations: u32,
    /// Single images.
    pub images: u32,
    /// Uploads.
    pub uploads: u32,
}

/// An image of any visitor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GalleryImage {
    /// sha256 of the file.
    pub hash: String,
    /// URL of the file.
    pub url: String,
    /// Its generation.
    pub generation: String,
    /// Index among that generation's images.
    pub index: u32,
    /// Digest of the visitor's id; absent for clients without a cookie.
    pub visitor: Option<String>,
    /// Its prompt.
    pub prompt: String,
    /// Milliseconds since 1970 (UTC); pages through the list.
    pub created_at: i64,
}

/// An adapter version with its admin settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ListedVersion {
    /// The version itself.
    #[serde(flatten)]
    pub version: AdapterVersion,
    /// Whether it is hidden from visitors.
    pub hidden: bool,
    /// Whether visitors may download its file, if the server allows downloads.
    pub downloads: bool,
    /// When it was deleted, in milliseconds since 1970 (UTC). Its number and hash stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<i64>,
    /// The admin's note; may be empty.
    #[serde(default)]
    pub note: String,
}

/// Most characters of a version's note.
pub const MAX_NOTE_CHARS: usize = 2_000;

/// Change of an adapter version's settings; absent fields stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct VersionChange {
    /// Whether to hide it from visitors.
    #[serde(default)]
    pub hidden: Option<bool>,
    /// Whether visitors may download its file.
    #[serde(default)]
    pub downloads: Option<bool>,
    /// Note for the admins, at most 2000 characters; empty removes it.
    #[serde(default)]
    pub note: Option<String>,
}

/// What a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum QueuedKind {
    /// A generation.
    Generation,
    /// A training run.
    Training,
    /// An evaluation of an adapter version.
    Evaluation,
    /// An upload of an adapter version.
    Push,
}

/// A queued or running job of any kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueuedJob {
    /// Id of the generation, training run, evaluation or push, a UUID.
    pub id: String,
    /// What it is.
    pub kind: QueuedKind,
    /// Whether it runs; otherwise it is queued.
    pub running: bool,
    /// Start of the prompt, name of the adapter that is trained, version that is evaluated, or version and repository.
    pub title: String,
    /// Size of the work, in words.
    pub detail: String,
    /// Whose turn it uses, shortened: a visitor, or a network without a cookie; absent for the admin's and local ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Network of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Expected milliseconds of work.
    pub cost_ms: u64,
    /// Estimated milliseconds until it starts, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// What it waits for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Milliseconds since 1970 (UTC).
    pub created_at: i64,
    /// Address of its page.
    pub page: String,
}

/// All queued and running jobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JobQueue {
    /// Whether new jobs are refused for now.
    pub paused: bool,
    /// Generations, evaluations and training runs in the order in which they use the device, then pushes, which run beside
    /// them.
    pub jobs: Vec<QueuedJob>,
}

/// Moves a queued job among those of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JobMove {
    /// To the front.
    Front,
    /// One place earlier.
    Earlier,
    /// One place later.
    Later,
}

/// Change of a queued job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct JobChange {
    /// Where it goes.
    pub to: JobMove,
}

/// Whether new jobs are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Intake {
    /// Whether they are refused for now. What is queued still runs.
    pub paused: bool,
}
