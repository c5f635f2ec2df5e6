//! Admin endpoints of the queue, images and adapter versions.

use adire_protocol::{
    Cancelled, Deleted, GalleryImage, Generation, ListedVersion, QueueEntry, QueueOwner, VersionChange,
};
use adire_studio::{By, Studio};
use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;

use crate::{
    error::Problem,
    extract::{GenerationId, JsonBody, QueryOf, Segment},
};

/// Images of a page of the gallery.
const PAGE: u32 = 60;

/// List the queue
///
/// The running and queued generations in order, each with the digest of its visitor's cookie and its network.
#[utoipa::path(
    get,
    path = "/admin/api/queue",
    tag = "control",
    responses((status = 200, description = "The full list", body = Vec<QueueEntry>))
)]
pub(crate) async fn queue(State(studio): State<Studio>) -> Json<Vec<QueueEntry>> {
    Json(studio.queue_entries())
}

/// Cancel any generation
#[utoipa::path(
    delete,
    path = "/admin/api/queue/{id}",
    tag = "control",
    params(("id" = String, Path, description = "Id of the generation, a UUID")),
    responses(
        (status = 200, description = "The updated record", body = Generation),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Generation not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(studio): State<Studio>,
    GenerationId(id): GenerationId,
) -> Result<Json<Generation>, Problem> {
    Ok(Json(studio.cancel(&id, By::Admin).await?))
}

/// Cancel all generations of a network or visitor
#[utoipa::path(
    post,
    path = "/admin/api/queue/cancel",
    tag = "control",
    request_body = QueueOwner,
    responses(
        (status = 200, description = "How many were cancelled", body = Cancelled),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Neither network nor visitor is set", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel_all(
    State(studio): State<Studio>,
    JsonBody(of): JsonBody<QueueOwner>,
) -> Result<Json<Cancelled>, Problem> {
    Ok(Json(Cancelled { cancelled: studio.cancel_all(of).await? }))
}

/// A page of the gallery.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    before: Option<i64>,
}

/// List all images
///
/// The newest first, 60 at a time.
#[utoipa::path(
    get,
    path = "/admin/api/images",
    tag = "control",
    params(("before" = Option<i64>, Query, description = "`created_at` of the last one of the page before")),
    responses(
        (status = 200, description = "The images", body = Vec<GalleryImage>),
        (status = 400, description = "The query cannot be read", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn images(
    State(studio): State<Studio>,
    QueryOf(Page { before }): QueryOf<Page>,
) -> Result<Json<Vec<GalleryImage>>, Problem> {
    Ok(Json(studio.gallery(PAGE, before).await?))
}

/// Delete any image
///
/// Permanently, from every generation that has it. A generation that loses its last image is deleted with its prompt.
#[utoipa::path(
    delete,
    path = "/admin/api/images/{hash}",
    tag = "control",
    params(("hash" = String, Path, description = "sha256 of the file")),
    responses(
        (status = 200, description = "What was deleted", body = Deleted),
        (status = 404, description = "Image not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete_image(
    State(studio): State<Studio>,
    Segment(hash): Segment,
) -> Result<Json<Deleted>, Problem> {
    Ok(Json(studio.delete_content(&hash).await?))
}

/// Delete any generation
///
/// Permanently: its prompt, all its images, and init images and masks that only it used.
#[utoipa::path(
    delete,
    path = "/admin/api/generations/{id}",
    tag = "control",
    params(("id" = String, Path, description = "Id of the generation, a UUID")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Generation not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete_generation(
    State(studio): State<Studio>,
    GenerationId(id): GenerationId,
) -> Result<StatusCode, Problem> {
    studio.delete_generation(&id, By::Admin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete a visitor's data
///
/// Permanently deletes every generation, image and upload. The visitor is identified by the digest shown in the queue
/// and with images.
#[utoipa::path(
    delete,
    path = "/admin/api/visitors/{visitor}",
    tag = "control",
    params(("visitor" = String, Path, description = "Digest of the visitor's cookie")),
    responses((status = 200, description = "What was deleted", body = Deleted))
)]
pub(crate) async fn delete_visitor(
    State(studio): State<Studio>,
    Segment(visitor): Segment,
) -> Result<Json<Deleted>, Problem> {
    Ok(Json(studio.delete_visitor(&visitor).await?))
}

/// List all adapter versions, hidden and deleted included
///
/// With the admin's settings for each. A deleted version has no file; its number and hash are kept for recipes.
#[utoipa::path(
    get,
    path = "/admin/api/adapters",
    tag = "control",
    responses((status = 200, description = "The full list", body = Vec<ListedVersion>))
)]
pub(crate) async fn versions(State(studio): State<Studio>) -> Result<Json<Vec<ListedVersion>>, Problem> {
    Ok(Json(studio.versions().await?))
}

/// Hide or show an adapter version, allow or deny its download
///
/// Visitors cannot see, use or download a hidden version. Queued generations that use it still run.
#[utoipa::path(
    patch,
    path = "/admin/api/adapters/{name}",
    tag = "control",
    params(("name" = String, Path, description = "`name@vN`")),
    request_body = VersionChange,
    responses(
        (status = 200, description = "The updated version", body = ListedVersion),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Version not found", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn change_version(
    State(studio): State<Studio>,
    Segment(name): Segment,
    JsonBody(change): JsonBody<VersionChange>,
) -> Result<Json<ListedVersion>, Problem> {
    Ok(Json(studio.change_version(&name, change).await?))
}

/// Delete an adapter version
///
/// Permanently, with its file unless another version shares it. Its number is never reused.
#[utoipa::path(
    delete,
    path = "/admin/api/adapters/{name}",
    tag = "control",
    params(("name" = String, Path, description = "`name@vN`")),
    responses(
        (status = 200, description = "The deleted version's record", body = ListedVersion),
        (status = 404, description = "Version not found", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The version number is missing", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete_version(
    State(studio): State<Studio>,
    Segment(name): Segment,
) -> Result<Json<ListedVersion>, Problem> {
    Ok(Json(studio.delete_version(&name).await?))
}
