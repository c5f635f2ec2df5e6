//! Image uploads.

use adire_protocol::Upload;
use adire_studio::{ImageUse, Studio};
use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};
use serde::Deserialize;

use crate::{
    error::{Problem, ProblemKind},
    extract::{ClientOf, QueryOf, but, media_type},
};

/// What an upload is for.
#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// An init image.
    #[default]
    InitImage,
    /// A mask.
    Mask,
}

/// How an upload is read.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct UploadQuery {
    /// What it is for: with `mask`, transparency says what is regenerated where the colours do not.
    #[param(inline)]
    role: Role,
}

/// Upload an image
///
/// The body is a PNG, JPEG or WebP file. It is turned as its EXIF data says, laid over white where it is transparent,
/// and kept as a PNG of its pixels alone; no metadata stays. The answer names it: use the name as `init_image` or
/// `mask` of a generation. The same pixels always have the same name. `images/{hash}.png` shows it. One that no generation names within
/// a day is deleted. `warnings` says what is not as in the file: transparent areas, colours converted to sRGB or taken
/// roughly, frames that were left out. Files that are broken off are refused.
#[utoipa::path(
    post,
    path = "/api/v1/uploads",
    tag = "images",
    params(UploadQuery),
    request_body(content = Vec<u8>, description = "A PNG, JPEG or WebP file, at most 20 MiB", content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "Stored, or already known", body = Upload),
        (status = 413, description = "Larger than 20 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not an image", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Unsupported, incomplete, or more than 64 million pixels", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Daily upload limit of this visitor or network reached", body = Problem, content_type = "application/problem+json",
            headers(("retry-after" = u64, description = "Seconds"))),
        (status = 507, description = "The server's disk is full, or nearly so", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many images are being decoded, or the server is starting or stopping", body = Problem, content_type = "application/problem+json",
            headers(("retry-after" = u64, description = "Seconds"))),
    )
)]
pub(crate) async fn upload(
    State(studio): State<Studio>,
    ClientOf(client): ClientOf,
    QueryOf(query): QueryOf<UploadQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let media_type = media_type(&headers);
    let taken = ["image/png", "image/jpeg", "image/webp", "application/octet-stream", ""];
    if !taken.contains(&media_type.as_str()) {
        let sentence = format!(
            "Expected an image; set Content-Type: image/png, image/jpeg or image/webp{}.",
            but(&media_type)
        );
        return Err(Problem::new(ProblemKind::MediaType, sentence));
    }
    let used_as = match query.role {
        Role::InitImage => ImageUse::Colours,
        Role::Mask => ImageUse::Mask,
    };
    // The body goes to the disk as it comes; the studio ends it where it grows too large.
    let upload = studio.upload(body.into_data_stream(), used_as, &client).await?;
    Ok((StatusCode::CREATED, Json(upload)))
}
