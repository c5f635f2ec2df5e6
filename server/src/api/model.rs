//! What this server offers and how busy it is.

use adire_protocol::{ModelInfo, QueueStatus};
use adire_studio::Studio;
use axum::{Json, extract::State};

/// Get the loaded model
///
/// Its name and hash, the defaults for omitted fields, and the limits of requests.
#[utoipa::path(
    get,
    path = "/api/v1/model",
    tag = "server",
    responses((status = 200, description = "The model that is loaded", body = ModelInfo))
)]
pub(crate) async fn model(State(studio): State<Studio>) -> Json<ModelInfo> {
    Json(studio.model().clone())
}

/// Get the queue's status
///
/// How many generations are queued or running, and how long a new one would wait.
#[utoipa::path(
    get,
    path = "/api/v1/queue",
    tag = "server",
    responses((status = 200, description = "Queue length and expected wait", body = QueueStatus))
)]
pub(crate) async fn queue(State(studio): State<Studio>) -> Json<QueueStatus> {
    Json(studio.queue())
}
