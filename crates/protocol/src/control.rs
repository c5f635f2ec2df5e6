//! What the admin sees of everyone, and decides: the queue, images, adapter versions.

use serde::{Deserialize, Serialize};

use crate::{AdapterVersion, GenerationState, Links, Progress};

/// A generation that waits or runs, with who asked for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueueEntry {
    /// Id of the generation, a UUID.
    pub id: String,
    /// `queued` or `running`.
    pub state: GenerationState,
    /// Digest of the visitor's id; absent for programs that keep no cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visitor: Option<String>,
    /// The network that it was asked for from: an IPv4 address, or a /64 of IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The beginning of its prompt.
    pub prompt: String,
    /// Pixels of a finished image.
    pub width: u32,
    /// Pixels of a finished image.
    pub height: u32,
    /// Steps of an image, those of a hires pass included.
    pub steps: u32,
    /// Images that were asked for.
    pub count: u32,
    /// What is left to do, in megapixel-steps: images × steps × millions of pixels.
    pub cost: f64,
    /// Milliseconds since 1970 (UTC).
    pub created_at: i64,
    /// Expected milliseconds until it starts, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// How far a running one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Where it is found.
    pub links: Links,
}

/// Whose generations are meant; with both, those that are of the visitor and from the network.
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

/// How many generations were cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cancelled {
    /// Those that waited, and the one that ran.
    pub cancelled: u32,
}

/// What was deleted for good.
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

/// Anybody's image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GalleryImage {
    /// sha256 of the file.
    pub hash: String,
    /// Where the file is.
    pub url: String,
    /// Generation that it belongs to.
    pub generation: String,
    /// Its place among that generation's images.
    pub index: u32,
    /// Digest of the visitor's id; absent for programs that keep no cookie.
    pub visitor: Option<String>,
    /// What it was made of.
    pub prompt: String,
    /// Milliseconds since 1970 (UTC); pages through the list.
    pub created_at: i64,
}

/// An adapter version with what the admin has decided about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ListedVersion {
    /// The version itself.
    #[serde(flatten)]
    pub version: AdapterVersion,
    /// Visitors cannot see or use it.
    pub hidden: bool,
    /// Visitors may download its file, where the server gives files out at all.
    pub downloads: bool,
    /// When it was deleted, in milliseconds since 1970 (UTC). Its number and hash stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<i64>,
}

/// What to decide about an adapter version; what is left out stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct VersionChange {
    /// Whether visitors can neither see nor use it.
    #[serde(default)]
    pub hidden: Option<bool>,
    /// Whether visitors may download its file.
    #[serde(default)]
    pub downloads: Option<bool>,
}
