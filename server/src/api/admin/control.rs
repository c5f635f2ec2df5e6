//! Everybody's: the queue, images, adapter versions.

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

/// Who waits
///
/// The generation that runs and those that wait, in the order in which they are made, with who asked: the digest of the
/// visitor's cookie and the network.
#[utoipa::path(
    get,
    path = "/admin/api/queue",
    tag = "control",
    responses((status = 200, description = "All of them", body = Vec<QueueEntry>))
)]
pub(crate) async fn queue(State(studio): State<Studio>) -> Json<Vec<QueueEntry>> {
    Json(studio.queue_entries())
}

/// Cancel anybody's generation
#[utoipa::path(
    delete,
    path = "/admin/api/queue/{id}",
    tag = "control",
    params(("id" = String, Path, description = "Id of the generation, a UUID")),
    responses(
        (status = 200, description = "How it stands now", body = Generation),
        (status = 400, description = "The id is no UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such generation", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(studio): State<Studio>,
    GenerationId(id): GenerationId,
) -> Result<Json<Generation>, Problem> {
    Ok(Json(studio.cancel(&id, By::Admin).await?))
}

/// Cancel all of a network or a visitor
#[utoipa::path(
    post,
    path = "/admin/api/queue/cancel",
    tag = "control",
    request_body = QueueOwner,
    responses(
        (status = 200, description = "How many were cancelled", body = Cancelled),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not sent as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Neither is named", body = Problem, content_type = "application/problem+json"),
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

/// Everybody's images
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

/// Delete an image, whoever made or uploaded it
///
/// For good, in every generation that has it. A generation whose last image it was goes with its prompt.
#[utoipa::path(
    delete,
    path = "/admin/api/images/{hash}",
    tag = "control",
    params(("hash" = String, Path, description = "sha256 of the file")),
    responses(
        (status = 200, description = "What was deleted", body = Deleted),
        (status = 404, description = "No such image", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete_image(
    State(studio): State<Studio>,
    Segment(hash): Segment,
) -> Result<Json<Deleted>, Problem> {
    Ok(Json(studio.delete_content(&hash).await?))
}

/// Delete anybody's generation
///
/// For good: its prompt, all its images, and uploads that only it began with.
#[utoipa::path(
    delete,
    path = "/admin/api/generations/{id}",
    tag = "control",
    params(("id" = String, Path, description = "Id of the generation, a UUID")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 400, description = "The id is no UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such generation", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete_generation(
    State(studio): State<Studio>,
    GenerationId(id): GenerationId,
) -> Result<StatusCode, Problem> {
    studio.delete_generation(&id, By::Admin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete everything of a visitor
///
/// Every generation, image and upload, for good. The visitor is named by the digest that the queue and the images have.
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

/// Every adapter version that there is or was
///
/// With what was decided about it. A deleted one has no file any more; its number and hash stay, for recipes.
#[utoipa::path(
    get,
    path = "/admin/api/adapters",
    tag = "control",
    responses((status = 200, description = "All of them", body = Vec<ListedVersion>))
)]
pub(crate) async fn versions(State(studio): State<Studio>) -> Result<Json<Vec<ListedVersion>>, Problem> {
    Ok(Json(studio.versions().await?))
}

/// Hide an adapter version or show it again, give its file out or not
///
/// A hidden version cannot be seen, used or downloaded by visitors. Generations that were taken before are still made.
#[utoipa::path(
    patch,
    path = "/admin/api/adapters/{name}",
    tag = "control",
    params(("name" = String, Path, description = "`name@vN`")),
    request_body = VersionChange,
    responses(
        (status = 200, description = "The version as it is now", body = ListedVersion),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such version", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not sent as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Some field cannot be taken", body = Problem, content_type = "application/problem+json"),
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
/// For good, with its file where no other version has the same. Its number is never used again.
#[utoipa::path(
    delete,
    path = "/admin/api/adapters/{name}",
    tag = "control",
    params(("name" = String, Path, description = "`name@vN`")),
    responses(
        (status = 200, description = "What is left of it", body = ListedVersion),
        (status = 404, description = "No such version", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The version is not named in full", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete_version(
    State(studio): State<Studio>,
    Segment(name): Segment,
) -> Result<Json<ListedVersion>, Problem> {
    Ok(Json(studio.delete_version(&name).await?))
}
