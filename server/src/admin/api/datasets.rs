//! Admin endpoints of datasets.

use std::path::PathBuf;

use adire_protocol::{DatasetChange, DatasetRecord, DatasetSummary, NewDataset};
use adire_studio::Studio;
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    error::Problem,
    extract::{JsonBody, Segment, Segments},
};

/// List datasets
///
/// Newest first.
#[utoipa::path(
    get,
    path = "/admin/api/datasets",
    tag = "datasets",
    responses((status = 200, description = "The full list", body = Vec<DatasetSummary>))
)]
pub(crate) async fn list(State(studio): State<Studio>) -> Result<Json<Vec<DatasetSummary>>, Problem> {
    Ok(Json(studio.datasets().await?))
}

/// Create a dataset
///
/// It starts empty; add images with `{id}/files`.
#[utoipa::path(
    post,
    path = "/admin/api/datasets",
    tag = "datasets",
    request_body = NewDataset,
    responses(
        (status = 201, description = "Created; `Location` is its URL", body = DatasetRecord,
            headers(("location" = String, description = "URL of the dataset"))),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    State(studio): State<Studio>,
    JsonBody(new): JsonBody<NewDataset>,
) -> Result<impl IntoResponse, Problem> {
    let dataset = studio.create_dataset(new).await?;
    let location = [(header::LOCATION, format!("/admin/api/datasets/{}", dataset.id))];
    Ok((StatusCode::CREATED, location, Json(dataset)))
}

/// Get a dataset
///
/// With every image, its caption, the text the text encoder receives, and the import warnings.
#[utoipa::path(
    get,
    path = "/admin/api/datasets/{id}",
    tag = "datasets",
    params(("id" = String, Path, description = "Id of the dataset")),
    responses(
        (status = 200, description = "The dataset", body = DatasetRecord),
        (status = 404, description = "Dataset not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<DatasetRecord>, Problem> {
    Ok(Json(studio.dataset(&id).await?))
}

/// Edit a dataset
///
/// One caption, the default caption, a prefix for all captions, or search and replace. A dataset is frozen once a
/// training run uses it; duplicate it to make changes.
#[utoipa::path(
    patch,
    path = "/admin/api/datasets/{id}",
    tag = "datasets",
    params(("id" = String, Path, description = "Id of the dataset")),
    request_body = DatasetChange,
    responses(
        (status = 200, description = "The updated dataset", body = DatasetRecord),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Dataset or image not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The dataset is frozen", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn change(
    State(studio): State<Studio>,
    Segment(id): Segment,
    JsonBody(change): JsonBody<DatasetChange>,
) -> Result<Json<DatasetRecord>, Problem> {
    Ok(Json(studio.change_dataset(&id, change).await?))
}

/// Delete a dataset
///
/// With its images, unless something else uses them. Adapters trained on it and their runs are kept.
#[utoipa::path(
    delete,
    path = "/admin/api/datasets/{id}",
    tag = "datasets",
    params(("id" = String, Path, description = "Id of the dataset")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "Dataset not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "An unfinished training run uses it", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<StatusCode, Problem> {
    studio.delete_dataset(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Request to import a server folder.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportRequest {
    /// A folder on the server's machine.
    #[schema(value_type = String)]
    folder: PathBuf,
}

/// Import images from a server folder
///
/// Copies images and captions, as with `{id}/files`. Only folders inside those passed as `--import-from` are read,
/// only regular files, no links that point outside, for at most ten minutes.
#[utoipa::path(
    post,
    path = "/admin/api/datasets/{id}/import",
    tag = "datasets",
    params(("id" = String, Path, description = "Id of the dataset")),
    request_body = ImportRequest,
    responses(
        (status = 200, description = "The updated dataset", body = DatasetRecord),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Dataset not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The dataset is frozen", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Folder not allowed, or without usable images", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn import(
    State(studio): State<Studio>,
    Segment(id): Segment,
    JsonBody(request): JsonBody<ImportRequest>,
) -> Result<Json<DatasetRecord>, Problem> {
    Ok(Json(studio.import_folder(&id, &request.folder).await?))
}

/// Request to duplicate a dataset.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CopyRequest {
    /// As the dataset it is a copy of when left out.
    name: Option<String>,
}

/// Duplicate a dataset
///
/// The copy is a draft, even if the original is frozen.
#[utoipa::path(
    post,
    path = "/admin/api/datasets/{id}/copy",
    tag = "datasets",
    params(("id" = String, Path, description = "Id of the dataset")),
    request_body = CopyRequest,
    responses(
        (status = 201, description = "The copy; `Location` is its URL", body = DatasetRecord,
            headers(("location" = String, description = "URL of the copy"))),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Dataset not found", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid name", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn copy(
    State(studio): State<Studio>,
    Segment(id): Segment,
    JsonBody(request): JsonBody<CopyRequest>,
) -> Result<impl IntoResponse, Problem> {
    let dataset = studio.copy_dataset(&id, request.name).await?;
    let location = [(header::LOCATION, format!("/admin/api/datasets/{}", dataset.id))];
    Ok((StatusCode::CREATED, location, Json(dataset)))
}

/// Remove an image from a dataset
///
/// Its file is deleted unless something else uses it.
#[utoipa::path(
    delete,
    path = "/admin/api/datasets/{id}/images/{image}",
    tag = "datasets",
    params(
        ("id" = String, Path, description = "Id of the dataset"),
        ("image" = String, Path, description = "`hash` of the image"),
    ),
    responses(
        (status = 200, description = "The updated dataset", body = DatasetRecord),
        (status = 404, description = "Dataset or image not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The dataset is frozen", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn remove(
    State(studio): State<Studio>,
    Segments([id, image]): Segments<2>,
) -> Result<Json<DatasetRecord>, Problem> {
    Ok(Json(studio.remove_from_dataset(&id, &image).await?))
}

/// Get an image's thumbnail
///
/// At most 320 pixels a side.
#[utoipa::path(
    get,
    path = "/admin/api/datasets/{id}/images/{image}/thumbnail",
    tag = "datasets",
    params(
        ("id" = String, Path, description = "Id of the dataset"),
        ("image" = String, Path, description = "`hash` of the image"),
    ),
    responses(
        (status = 200, description = "A JPEG", body = Vec<u8>, content_type = "image/jpeg"),
        (status = 404, description = "Dataset or image not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn thumbnail(
    State(studio): State<Studio>,
    Segments([id, image]): Segments<2>,
) -> Result<impl IntoResponse, Problem> {
    let jpeg = studio.thumbnail(&id, &image).await?;
    // The name stands for the content, which never changes.
    let headers = [
        (header::CONTENT_TYPE, "image/jpeg"),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable"),
    ];
    Ok((headers, jpeg))
}
