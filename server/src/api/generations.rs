//! Creating, reading and cancelling generations.

use adire_protocol::{Generation, GenerationRequest};
use adire_studio::{By, Studio};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};

use crate::{
    error::Problem,
    extract::{ClientOf, GenerationId, JsonBody},
    state::AppState,
    submission::{self, Caller},
};

/// Create a generation
///
/// Every field except `prompt` is optional. Returns at once; a worker generates the images one after the other. Follow
/// `links.events`, or poll `links.self`.
#[utoipa::path(
    post,
    path = "/api/v1/generations",
    tag = "generations",
    request_body = GenerationRequest,
    responses(
        (status = 202, description = "Queued; `Location` is its URL", body = Generation,
            headers(("location" = String, description = "URL of the generation"))),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "Request body too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields, listed in `errors`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many queued generations of this visitor or network, or their total cost is too high", body = Problem, content_type = "application/problem+json",
            headers(("retry-after" = u64, description = "Seconds"))),
        (status = 507, description = "The server's disk is full, or nearly so", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The queue is full, or the server is starting or stopping", body = Problem, content_type = "application/problem+json",
            headers(("retry-after" = u64, description = "Seconds"))),
    )
)]
pub(crate) async fn submit(
    State(state): State<AppState>,
    caller: Caller,
    JsonBody(request): JsonBody<GenerationRequest>,
) -> Result<impl IntoResponse, Problem> {
    let generation = submission::submit(&state, &caller, request).await?;
    let location = [(header::LOCATION, generation.links.this.clone())];
    Ok((StatusCode::ACCEPTED, location, Json(generation)))
}

/// Get a generation
#[utoipa::path(
    get,
    path = "/api/v1/generations/{id}",
    tag = "generations",
    params(("id" = String, Path, description = "Id of the generation, a UUID")),
    responses(
        (status = 200, description = "The generation; once done, it lists its images", body = Generation),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Generation not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(studio): State<Studio>,
    GenerationId(id): GenerationId,
) -> Result<Json<Generation>, Problem> {
    Ok(Json(studio.generation(&id).await?))
}

/// Cancel a generation
///
/// A queued generation is cancelled at once, a running one within a step: the response may still say `running`, and
/// the `cancelled` event follows. Finished images are kept; a generation that has ended is unchanged. Only the visitor
/// that created it can cancel it; without a visitor cookie, anyone with the id can.
#[utoipa::path(
    delete,
    path = "/api/v1/generations/{id}",
    tag = "generations",
    params(("id" = String, Path, description = "Id of the generation, a UUID")),
    responses(
        (status = 200, description = "The updated record", body = Generation),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "It belongs to another visitor", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Generation not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(studio): State<Studio>,
    ClientOf(client): ClientOf,
    GenerationId(id): GenerationId,
) -> Result<Json<Generation>, Problem> {
    Ok(Json(studio.cancel(&id, By::Client(&client)).await?))
}
