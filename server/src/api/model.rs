//! What this server offers and how busy it is.

use adire_protocol::{ModelInfo, QueueStatus};
use adire_studio::Studio;
use axum::{Json, extract::State};

/// The model
///
/// Its name and hash, what a request that leaves something out gets, and what requests may ask for.
#[utoipa::path(
    get,
    path = "/api/v1/model",
    tag = "server",
    responses((status = 200, description = "The model that is loaded", body = ModelInfo))
)]
pub(crate) async fn model(State(studio): State<Studio>) -> Json<ModelInfo> {
    Json(studio.model().clone())
}

/// The queue
///
/// How many generations wait or run, and how long a new one would wait.
#[utoipa::path(
    get,
    path = "/api/v1/queue",
    tag = "server",
    responses((status = 200, description = "How busy the worker is", body = QueueStatus))
)]
pub(crate) async fn queue(State(studio): State<Studio>) -> Json<QueueStatus> {
    Json(studio.queue())
}
