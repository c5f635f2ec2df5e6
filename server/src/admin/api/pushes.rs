//! Admin endpoints of pushes to the Hugging Face Hub.

use adire_protocol::{PushRecord, PushRequest};
use adire_studio::Studio;
use axum::{Json, extract::State, http::StatusCode};

use crate::{
    error::Problem,
    extract::{JsonBody, Segment},
};

/// List pushes
///
/// The newest 50 uploads of adapter versions to the Hub.
#[utoipa::path(
    get,
    path = "/admin/api/pushes",
    tag = "control",
    responses((status = 200, description = "Newest first", body = Vec<PushRecord>))
)]
pub(crate) async fn list(State(studio): State<Studio>) -> Result<Json<Vec<PushRecord>>, Problem> {
    Ok(Json(studio.pushes(None).await?))
}

/// Push a version
///
/// To a repository on the Hugging Face Hub, with the server's HF_TOKEN. It is a job: it survives restarts and is tried again.
/// The same request while one is under way returns that one.
#[utoipa::path(
    post,
    path = "/admin/api/adapters/{id}/push",
    tag = "control",
    params(("id" = String, Path, description = "`name@vN`")),
    request_body = PushRequest,
    responses(
        (status = 202, description = "Queued", body = PushRecord),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Version not found", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn submit(
    State(studio): State<Studio>,
    Segment(id): Segment,
    JsonBody(request): JsonBody<PushRequest>,
) -> Result<(StatusCode, Json<PushRecord>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(studio.push(&id, request).await?)))
}

/// Get a push
#[utoipa::path(
    get,
    path = "/admin/api/pushes/{id}",
    tag = "control",
    params(("id" = String, Path, description = "Id of the push, a UUID")),
    responses(
        (status = 200, description = "The push", body = PushRecord),
        (status = 404, description = "Push not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<PushRecord>, Problem> {
    Ok(Json(studio.push_record(&id).await?))
}

/// Cancel a push
///
/// At once while it is queued or waits for its next try. What was uploaded stays.
#[utoipa::path(
    delete,
    path = "/admin/api/pushes/{id}",
    tag = "control",
    params(("id" = String, Path, description = "Id of the push, a UUID")),
    responses(
        (status = 200, description = "The push", body = PushRecord),
        (status = 404, description = "Push not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The push has ended", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<PushRecord>, Problem> {
    Ok(Json(studio.cancel_push(&id).await?))
}
