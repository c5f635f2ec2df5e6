//! Asking for images, asking how far they are, stopping them.

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
};

/// Ask for images
///
/// Everything but `prompt` may be left out. The answer comes at once; the images are made one after the
/// other by a worker. Follow `links.events`, or ask `links.self` from time to time.
#[utoipa::path(
    post,
    path = "/api/v1/generations",
    tag = "generations",
    request_body = GenerationRequest,
    responses(
        (status = 202, description = "Taken; `Location` is its address", body = Generation,
            headers(("location" = String, description = "Address of the generation"))),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not sent as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Some field cannot be taken; `errors` names each", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many generations of this visitor or network wait, or they cost too much together", body = Problem, content_type = "application/problem+json",
            headers(("retry-after" = u64, description = "Seconds"))),
        (status = 507, description = "The server's disk is full, or nearly so", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The queue is full, or the server starts or stops", body = Problem, content_type = "application/problem+json",
            headers(("retry-after" = u64, description = "Seconds"))),
    )
)]
pub(crate) async fn submit(
    State(studio): State<Studio>,
    ClientOf(client): ClientOf,
    JsonBody(request): JsonBody<GenerationRequest>,
) -> Result<impl IntoResponse, Problem> {
    let generation = studio.submit(request, &client).await?;
    let location = [(header::LOCATION, generation.links.this.clone())];
    Ok((StatusCode::ACCEPTED, location, Json(generation)))
}

/// A generation as it stands
#[utoipa::path(
    get,
    path = "/api/v1/generations/{id}",
    tag = "generations",
    params(("id" = String, Path, description = "Id of the generation, a UUID")),
    responses(
        (status = 200, description = "How it stands; a done one lists its pictures", body = Generation),
        (status = 400, description = "The id is no UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such generation", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(studio): State<Studio>,
    GenerationId(id): GenerationId,
) -> Result<Json<Generation>, Problem> {
    Ok(Json(studio.generation(&id).await?))
}

/// Stop a generation
///
/// At once while it waits, within one step while it runs: the answer may still say `running`, the event
/// `cancelled` follows. Images finished before are kept. One that has ended stays as it is. Only the visitor that asked
/// may do so; what was asked for without a visitor's cookie, whoever knows the id.
#[utoipa::path(
    delete,
    path = "/api/v1/generations/{id}",
    tag = "generations",
    params(("id" = String, Path, description = "Id of the generation, a UUID")),
    responses(
        (status = 200, description = "How it stands now", body = Generation),
        (status = 400, description = "The id is no UUID", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "It belongs to another visitor", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such generation", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(studio): State<Studio>,
    ClientOf(client): ClientOf,
    GenerationId(id): GenerationId,
) -> Result<Json<Generation>, Problem> {
    Ok(Json(studio.cancel(&id, By::Client(&client)).await?))
}
