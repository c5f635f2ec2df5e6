//! Taking back what was asked for: images, prompts, all of it.

use adire_protocol::Deleted;
use adire_studio::{By, Studio};
use axum::{Json, extract::State, http::StatusCode};

use crate::{
    error::Problem,
    extract::{ClientOf, GenerationId, Segments, generation_id},
};

/// Delete a generation
///
/// For good: its prompt, all its images, and uploads that only it began with. One that waits or runs is cancelled first.
/// Only the visitor that asked for it may do so; what was asked for without a visitor's cookie, whoever knows the id.
#[utoipa::path(
    delete,
    path = "/api/v1/generations/{id}/images",
    tag = "generations",
    params(("id" = String, Path, description = "Id of the generation, a UUID")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 400, description = "The id is no UUID", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "It belongs to another visitor", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such generation", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn generation(
    State(studio): State<Studio>,
    ClientOf(client): ClientOf,
    GenerationId(id): GenerationId,
) -> Result<StatusCode, Problem> {
    studio.delete_generation(&id, By::Client(&client)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete one image
///
/// For good. With the last image of a generation goes the generation with its prompt.
#[utoipa::path(
    delete,
    path = "/api/v1/generations/{id}/images/{index}",
    tag = "generations",
    params(
        ("id" = String, Path, description = "Id of the generation, a UUID"),
        ("index" = u32, Path, description = "Place of the image, from 0"),
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 400, description = "The id is no UUID", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "It belongs to another visitor", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such image", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The generation is not finished", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn image(
    State(studio): State<Studio>,
    ClientOf(client): ClientOf,
    Segments([id, index]): Segments<2>,
) -> Result<StatusCode, Problem> {
    let id = generation_id(&id)?;
    let index = index.parse().map_err(|_| {
        let shown: String = index.chars().take(20).collect();
        Problem::new(
            crate::error::ProblemKind::NotFound,
            format!("There is no image {shown}; images of a generation are numbered from 0."),
        )
    })?;
    studio.delete_image(&id, index, By::Client(&client)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete everything of mine
///
/// Every generation, image and upload of the visitor whose cookie is sent, for good. Without a cookie nothing is known to
/// be yours; delete such generations by their ids.
#[utoipa::path(
    delete,
    path = "/api/v1/history",
    tag = "generations",
    responses((status = 200, description = "What was deleted", body = Deleted))
)]
pub(crate) async fn history(
    State(studio): State<Studio>,
    ClientOf(client): ClientOf,
) -> Result<Json<Deleted>, Problem> {
    Ok(Json(studio.delete_history(&client).await?))
}
