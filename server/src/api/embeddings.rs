//! The embeddings that prompts may name.

use adire_protocol::EmbeddingRecord;
use adire_studio::Studio;
use axum::{Json, extract::State};

use crate::error::Problem;

/// List embeddings
///
/// Words of prompts that stand for vectors (textual inversions), by their words. Upper and lower case are the same.
/// Embeddings that an adapter's file brings along are not listed; their words work while the adapter takes part.
#[utoipa::path(
    get,
    path = "/api/v1/embeddings",
    tag = "adapters",
    responses((status = 200, description = "The full list", body = Vec<EmbeddingRecord>))
)]
pub(crate) async fn list(State(studio): State<Studio>) -> Result<Json<Vec<EmbeddingRecord>>, Problem> {
    Ok(Json(studio.embeddings().await?))
}
