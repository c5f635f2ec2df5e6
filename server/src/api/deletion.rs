//! Deletion of images, generations and all data of a visitor.

use adire_protocol::Deleted;
use adire_studio::{By, Studio};
use axum::{Json, extract::State, http::StatusCode};

use crate::{
    error::Problem,
    extract::{ClientOf, GenerationId, Segments, generation_id},
};

/// Delete a generation
///
/// Permanently: its prompt, all its images, and init images and masks that only it used. A queued or running
/// generation is cancelled first. Only the visitor that created it can delete it; without a visitor cookie, anyone
/// with the id can.
#[utoipa::path(
    delete,
    path = "/api/v1/generations/{id}/images",
    tag = "generations",
    params(("id" = String, Path, description = "Id of the generation, a UUID")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "It belongs to another visitor", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Generation not found", body = Problem, content_type = "application/problem+json"),
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
/// Permanently. A generation that loses its last image is deleted with its prompt.
#[utoipa::path(
    delete,
    path = "/api/v1/generations/{id}/images/{index}",
    tag = "generations",
    params(
        ("id" = String, Path, description = "Id of the generation, a UUID"),
        ("index" = u32, Path, description = "Index of the image, from 0"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "It belongs to another visitor", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Image not found", body = Problem, content_type = "application/problem+json"),
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
            format!("Image {shown} not found; images of a generation are numbered from 0."),
        )
    })?;
    studio.delete_image(&id, index, By::Client(&client)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete all my data
///
/// Permanently deletes every generation, image and upload of the visitor whose cookie is sent. Generations created
/// without a cookie must be deleted by id.
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
