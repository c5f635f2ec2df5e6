//! Pictures that clients bring along.

use adire_protocol::Upload;
use adire_studio::Studio;
use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};

use crate::{
    error::{Problem, ProblemKind},
    extract::{ClientOf, but, media_type},
};

/// Bring a picture along
///
/// The body is a PNG, JPEG or WebP file. It is turned as its EXIF data says, laid over white where it is transparent,
/// and kept as a PNG of its pixels alone; no metadata stays. The answer names it: use the name as `init_image` or
/// `mask` of a generation. The same pixels always have the same name. `images/{hash}.png` shows it. One that no generation names within
/// a day is deleted.
#[utoipa::path(
    post,
    path = "/api/v1/uploads",
    tag = "images",
    request_body(content = Vec<u8>, description = "A PNG, JPEG or WebP file, at most 20 MiB", content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "Taken, or known already", body = Upload),
        (status = 413, description = "Larger than 20 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Sent as something else than a picture", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No such picture, or one of too many pixels", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "This visitor or network has uploaded enough for a day", body = Problem, content_type = "application/problem+json",
            headers(("retry-after" = u64, description = "Seconds"))),
        (status = 507, description = "The server's disk is full, or nearly so", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many images are being read, or the server starts or stops", body = Problem, content_type = "application/problem+json",
            headers(("retry-after" = u64, description = "Seconds"))),
    )
)]
pub(crate) async fn upload(
    State(studio): State<Studio>,
    ClientOf(client): ClientOf,
    headers: HeaderMap,
    body: Body,
) -> Result<impl IntoResponse, Problem> {
    let media_type = media_type(&headers);
    let taken = ["image/png", "image/jpeg", "image/webp", "application/octet-stream", ""];
    if !taken.contains(&media_type.as_str()) {
        let sentence = format!(
            "This address takes a picture; send it with Content-Type: image/png, image/jpeg or image/webp{}.",
            but(&media_type)
        );
        return Err(Problem::new(ProblemKind::MediaType, sentence));
    }
    // The body goes to the disk as it comes; the studio ends it where it grows too large.
    let upload = studio.upload(body.into_data_stream(), &client).await?;
    Ok((StatusCode::CREATED, Json(upload)))
}
