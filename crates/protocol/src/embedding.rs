//! Embeddings (textual inversions): words of prompts that stand for vectors.

use serde::{Deserialize, Serialize};

/// An embedding that a server offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EmbeddingRecord {
    /// The word that stands for it in prompts; upper and lower case are the same.
    pub word: String,
    /// sha256 of the file, 64 hex digits.
    pub hash: String,
    /// Vectors that stand for the word: as many tokens does it take in a prompt.
    pub vectors: u32,
    /// Numbers in each vector; 768 for Stable Diffusion 1.x.
    pub width: u32,
    /// Size of the file.
    pub bytes: u64,
    /// Milliseconds since 1970 (UTC).
    pub created_at: i64,
}

/// An embedding that took part in an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EmbeddingUse {
    /// The word of the prompt.
    pub word: String,
    /// sha256 of the file, which may be an adapter's that brings it along.
    pub hash: String,
}
