//! Datasets: listing, making, looking at, editing.

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

/// Every dataset
///
/// The newest first.
#[utoipa::path(
    get,
    path = "/admin/api/datasets",
    tag = "datasets",
    responses((status = 200, description = "All of them", body = Vec<DatasetSummary>))
)]
pub(crate) async fn list(State(studio): State<Studio>) -> Result<Json<Vec<DatasetSummary>>, Problem> {
    Ok(Json(studio.datasets().await?))
}

/// Make a dataset
///
/// It has no images yet; bring them to `{id}/files`.
#[utoipa::path(
    post,
    path = "/admin/api/datasets",
    tag = "datasets",
    request_body = NewDataset,
    responses(
        (status = 201, description = "Made; `Location` is its address", body = DatasetRecord,
            headers(("location" = String, description = "Address of the dataset"))),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not sent as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Some field cannot be taken", body = Problem, content_type = "application/problem+json"),
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

/// A dataset
///
/// With every image, its caption and what the text encoder is told, and with what was remarked about files that were
/// brought.
#[utoipa::path(
    get,
    path = "/admin/api/datasets/{id}",
    tag = "datasets",
    params(("id" = String, Path, description = "Id of the dataset")),
    responses(
        (status = 200, description = "The dataset", body = DatasetRecord),
        (status = 404, description = "No such dataset", body = Problem, content_type = "application/problem+json"),
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
/// One caption, the caption of all, words in front of every caption, words in place of others. A dataset that a training
/// has used cannot be changed any more; make a copy.
#[utoipa::path(
    patch,
    path = "/admin/api/datasets/{id}",
    tag = "datasets",
    params(("id" = String, Path, description = "Id of the dataset")),
    request_body = DatasetChange,
    responses(
        (status = 200, description = "The dataset as it is now", body = DatasetRecord),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such dataset or picture", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A training has used it", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not sent as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Some field cannot be taken", body = Problem, content_type = "application/problem+json"),
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
/// With its images, where nothing else needs them. Adapters that were trained on it stay, and so does what their
/// trainings have measured.
#[utoipa::path(
    delete,
    path = "/admin/api/datasets/{id}",
    tag = "datasets",
    params(("id" = String, Path, description = "Id of the dataset")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such dataset", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A training that may still go on needs it", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<StatusCode, Problem> {
    studio.delete_dataset(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where images are to be taken from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportRequest {
    /// A folder on the server's machine.
    #[schema(value_type = String)]
    folder: PathBuf,
}

/// Take images from a folder of the server
///
/// Copies them; captions are understood as in `{id}/files`. Only folders in those that the server was started with
/// (`--import-from`) are read, only regular files, no links that lead out of the folder, for ten minutes at most.
#[utoipa::path(
    post,
    path = "/admin/api/datasets/{id}/import",
    tag = "datasets",
    params(("id" = String, Path, description = "Id of the dataset")),
    request_body = ImportRequest,
    responses(
        (status = 200, description = "The dataset as it is now", body = DatasetRecord),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such dataset", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A training has used it", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not sent as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The server reads no such folder, or nothing in it can be used", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn import(
    State(studio): State<Studio>,
    Segment(id): Segment,
    JsonBody(request): JsonBody<ImportRequest>,
) -> Result<Json<DatasetRecord>, Problem> {
    Ok(Json(studio.import_folder(&id, &request.folder).await?))
}

/// What a copy is called.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CopyRequest {
    /// As the dataset it is a copy of when left out.
    name: Option<String>,
}

/// Copy a dataset
///
/// The copy can be changed, also where the dataset cannot.
#[utoipa::path(
    post,
    path = "/admin/api/datasets/{id}/copy",
    tag = "datasets",
    params(("id" = String, Path, description = "Id of the dataset")),
    request_body = CopyRequest,
    responses(
        (status = 201, description = "The copy; `Location` is its address", body = DatasetRecord,
            headers(("location" = String, description = "Address of the copy"))),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such dataset", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not sent as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The name cannot be taken", body = Problem, content_type = "application/problem+json"),
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

/// Take an image out
///
/// Its file is deleted where nothing else needs it.
#[utoipa::path(
    delete,
    path = "/admin/api/datasets/{id}/pictures/{picture}",
    tag = "datasets",
    params(
        ("id" = String, Path, description = "Id of the dataset"),
        ("picture" = String, Path, description = "`hash` of the picture"),
    ),
    responses(
        (status = 200, description = "The dataset as it is now", body = DatasetRecord),
        (status = 404, description = "No such dataset or picture", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A training has used it", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn remove(
    State(studio): State<Studio>,
    Segments([id, image]): Segments<2>,
) -> Result<Json<DatasetRecord>, Problem> {
    Ok(Json(studio.remove_from_dataset(&id, &image).await?))
}

/// A small version of an image
///
/// At most 320 pixels a side.
#[utoipa::path(
    get,
    path = "/admin/api/datasets/{id}/pictures/{picture}/thumbnail",
    tag = "datasets",
    params(
        ("id" = String, Path, description = "Id of the dataset"),
        ("picture" = String, Path, description = "`hash` of the picture"),
    ),
    responses(
        (status = 200, description = "A JPEG", body = Vec<u8>, content_type = "image/jpeg"),
        (status = 404, description = "No such dataset or picture", body = Problem, content_type = "application/problem+json"),
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
