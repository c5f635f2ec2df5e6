//! Sharing images, and reading what is shared.

use adire_protocol::{Share, ShareRequest, SharedImage};
use adire_studio::{By, Studio};
use axum::{Json, extract::State, http::StatusCode};

use crate::{
    api::history::image_of,
    error::Problem,
    extract::{ClientOf, JsonBody, Segment, Segments},
};

/// Share an image
///
/// Anyone with the link sees the image, and with `recipe` also its prompt and parameters; never its init image or mask. Again
/// with another `recipe`, the link stays. Only the visitor that created it can share it; without a visitor cookie, anyone
/// with the id of its generation can.
#[utoipa::path(
    put,
    path = "/api/v1/generations/{id}/images/{index}/share",
    tag = "images",
    params(
        ("id" = String, Path, description = "Id of the generation, a UUID"),
        ("index" = u32, Path, description = "Index of the image, from 0"),
    ),
    request_body = ShareRequest,
    responses(
        (status = 200, description = "The share", body = Share),
        (status = 400, description = "The id is not a UUID, or the body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Image not found, or another visitor's", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn share(
    State(studio): State<Studio>,
    ClientOf(client): ClientOf,
    Segments(segments): Segments<2>,
    JsonBody(request): JsonBody<ShareRequest>,
) -> Result<Json<Share>, Problem> {
    Ok(Json(studio.share(&image_of(segments)?, request, By::Client(&client)).await?))
}

/// End the share of an image
#[utoipa::path(
    delete,
    path = "/api/v1/generations/{id}/images/{index}/share",
    tag = "images",
    params(
        ("id" = String, Path, description = "Id of the generation, a UUID"),
        ("index" = u32, Path, description = "Index of the image, from 0"),
    ),
    responses(
        (status = 204, description = "Not shared"),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Image not found, or another visitor's", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn unshare(
    State(studio): State<Studio>,
    ClientOf(client): ClientOf,
    Segments(segments): Segments<2>,
) -> Result<StatusCode, Problem> {
    studio.unshare(&image_of(segments)?, By::Client(&client)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get a shared image
#[utoipa::path(
    get,
    path = "/api/v1/shared/{hash}",
    tag = "images",
    params(("hash" = String, Path, description = "Public hash of the image, 64 hex digits")),
    responses(
        (status = 200, description = "The image, with its recipe if its maker shares it", body = SharedImage),
        (status = 404, description = "Nothing is shared under that hash", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(studio): State<Studio>,
    Segment(hash): Segment,
) -> Result<Json<SharedImage>, Problem> {
    Ok(Json(studio.shared_image(&hash).await?))
}
