//! A visitor's images: search, ratings, reports, zip files.

use adire_protocol::{
    FlagRequest, HistoryImage, HistoryPage, HistoryQuery, ImageRef, ImageSelection, Rating,
};
use adire_studio::{BlobStream, By, Studio};
use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    error::{Problem, ProblemKind},
    extract::{ClientOf, JsonBody, QueryOf, Segments, generation_id},
};

/// Search my images
///
/// Images of the visitor whose cookie is sent, newest first. Empty without a cookie.
#[utoipa::path(
    get,
    path = "/api/v1/history",
    tag = "images",
    params(HistoryQuery),
    responses(
        (status = 200, description = "A page of images", body = HistoryPage),
        (status = 400, description = "The query cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields, listed in `errors`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn search(
    State(studio): State<Studio>,
    ClientOf(client): ClientOf,
    QueryOf(query): QueryOf<HistoryQuery>,
) -> Result<Json<HistoryPage>, Problem> {
    Ok(Json(studio.search_history(&query, &client).await?))
}

/// Read the rating of an image
///
/// Only the visitor that created it can read it; without a visitor cookie, anyone with the id of its generation can.
#[utoipa::path(
    get,
    path = "/api/v1/generations/{id}/images/{index}/rating",
    tag = "images",
    params(
        ("id" = String, Path, description = "Id of the generation, a UUID"),
        ("index" = u32, Path, description = "Index of the image, from 0"),
    ),
    responses(
        (status = 200, description = "The rating; nothing is set in it before anybody has rated the image", body = Rating),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Image not found, or another visitor's", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn rating(
    State(studio): State<Studio>,
    ClientOf(client): ClientOf,
    Segments(segments): Segments<2>,
) -> Result<Json<Rating>, Problem> {
    Ok(Json(studio.history_image(&image_of(segments)?, By::Client(&client)).await?.rating))
}

/// Rate an image
///
/// Replaces its rating. Only the visitor that created it can rate it; without a visitor cookie, anyone with the id of its
/// generation can.
#[utoipa::path(
    put,
    path = "/api/v1/generations/{id}/images/{index}/rating",
    tag = "images",
    params(
        ("id" = String, Path, description = "Id of the generation, a UUID"),
        ("index" = u32, Path, description = "Index of the image, from 0"),
    ),
    request_body = Rating,
    responses(
        (status = 200, description = "The image with its rating", body = HistoryImage),
        (status = 400, description = "The id is not a UUID, or the body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Image not found, or another visitor's", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn rate(
    State(studio): State<Studio>,
    ClientOf(client): ClientOf,
    Segments(segments): Segments<2>,
    JsonBody(rating): JsonBody<Rating>,
) -> Result<Json<HistoryImage>, Problem> {
    let of = image_of(segments)?;
    Ok(Json(studio.rate(&of, rating, By::Client(&client)).await?))
}

/// Report an image
///
/// To the admin, with a reason. A second report by the same visitor changes nothing until the admin has dealt with the
/// first.
#[utoipa::path(
    post,
    path = "/api/v1/generations/{id}/images/{index}/flags",
    tag = "images",
    params(
        ("id" = String, Path, description = "Id of the generation, a UUID"),
        ("index" = u32, Path, description = "Index of the image, from 0"),
    ),
    request_body = FlagRequest,
    responses(
        (status = 204, description = "Reported"),
        (status = 400, description = "The id is not a UUID, or the body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Image not found", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No reason, or too long a one", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many reports in a day", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn flag(
    State(studio): State<Studio>,
    ClientOf(client): ClientOf,
    Segments(segments): Segments<2>,
    JsonBody(request): JsonBody<FlagRequest>,
) -> Result<StatusCode, Problem> {
    studio.flag(&image_of(segments)?, &request.reason, &client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Download images as a zip file
///
/// 1 to 500 images, each as a PNG with its recipe in a JSON file beside it.
#[utoipa::path(
    post,
    path = "/api/v1/history/zip",
    tag = "images",
    request_body = ImageSelection,
    responses(
        (status = 200, description = "The zip file", body = Vec<u8>, content_type = "application/zip"),
        (status = 404, description = "An image was not found, or is another visitor's", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No images, or more than 500", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn zip(
    State(studio): State<Studio>,
    ClientOf(client): ClientOf,
    JsonBody(selection): JsonBody<ImageSelection>,
) -> Result<Response, Problem> {
    Ok(zip_file(studio.zip_images(selection.images, By::Client(&client)).await?))
}

/// A zip file to be saved.
pub(crate) fn zip_file(content: BlobStream) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/zip")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"adire-images.zip\"")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, Body::from_stream(content)).into_response()
}

/// The image that an address names.
pub(crate) fn image_of([id, index]: [String; 2]) -> Result<ImageRef, Problem> {
    let generation = generation_id(&id)?;
    let index = index.parse().map_err(|_| {
        let shown: String = index.chars().take(20).collect();
        let sentence = format!("Image {shown} not found; images of a generation are numbered from 0.");
        Problem::new(ProblemKind::NotFound, sentence)
    })?;
    Ok(ImageRef { generation, index })
}
