//! Embeddings (textual inversions): trained vectors used by a word in prompts.

use serde::{Deserialize, Serialize};

/// An embedding on the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EmbeddingRecord {
    /// Its word in prompts, case-insensitive.
    pub word: String,
    /// sha256 of the file, 64 hex digits.
    pub hash: String,
    /// Number of vectors; the word counts as that many tokens.
    pub vectors: u32,
    /// Size of each vector; 768 for Stable Diffusion 1.x.
    pub width: u32,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Milliseconds since 1970 (UTC).
    pub created_at: i64,
}

/// An embedding used in an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EmbeddingUse {
    /// Its word in the prompt.
    pub word: String,
    /// sha256 of the file, which is an adapter file if it is bundled.
    pub hash: String,
}
