//! Images that their makers have shared.

use serde::{Deserialize, Serialize};

use crate::GenerationSpec;

/// Shares an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ShareRequest {
    /// Whether prompt, seed and the other parameters are shown with it.
    #[serde(default)]
    pub recipe: bool,
}

/// A share, as its maker sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Share {
    /// sha256 of the shared PNG file, which has no texts inside.
    pub hash: String,
    /// Path of the public page.
    pub page: String,
    /// Whether the recipe is shown with it.
    pub recipe: bool,
    /// Milliseconds since 1970 (UTC).
    pub shared_at: i64,
}

/// A shared image, as anyone sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SharedImage {
    /// sha256 of the shared PNG file.
    pub hash: String,
    /// Path of the shared PNG file.
    pub url: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Name of the base model.
    pub model: String,
    /// Adapter versions that it was made with and that visitors may use, as `name@vN`.
    pub adapters: Vec<String>,
    /// How it was made, if its maker shares it: without tags and without adapters that visitors may not use. Its init image
    /// and mask are never shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<GenerationSpec>,
}
