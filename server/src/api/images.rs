//! Images. They never change, so they may be kept for ever by the browser that has them; not by caches between,
//! which would go on giving out what was deleted.

use adire_studio::Studio;
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use crate::{
    blob,
    error::{Problem, ProblemKind},
    extract::{QueryOf, Segment},
    site::matches_etag,
};

/// How the browser should take it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Options {
    /// Present: to be saved, not shown.
    download: Option<String>,
}

/// An image
///
/// A PNG file with its parameters inside (A1111's `parameters` text), or an upload as it was kept. Its name is the
/// sha256 of its content, so it never changes and may be cached for ever.
#[utoipa::path(
    get,
    path = "/api/v1/images/{file}",
    tag = "images",
    params(
        ("file" = String, Path, description = "64 lower-case hex digits and `.png`", pattern = "^[0-9a-f]{64}\\.png$"),
        ("download" = Option<String>, Query, description = "Present: sent as a file to save"),
    ),
    responses(
        (status = 200, description = "The PNG file; supports ranges", body = Vec<u8>, content_type = "image/png"),
        (status = 304, description = "The client has it already"),
        (status = 404, description = "Image not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(studio): State<Studio>,
    Segment(file): Segment,
    QueryOf(options): QueryOf<Options>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let hash = hash_of(&file).ok_or_else(|| {
        let shown: String = file.chars().take(80).collect();
        let rule = "images are named by 64 lower-case hex digits and .png";
        Problem::new(ProblemKind::NotFound, format!("Image “{shown}” not found; {rule}."))
    })?;
    let kind = if options.download.is_some() { "attachment" } else { "inline" };
    let mut headers = HeaderMap::new();
    let etag = blob::etag(hash)?;
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    headers.insert(
        header::CONTENT_DISPOSITION,
        text(format!("{kind}; filename=\"adire-{}.png\"", &hash[..12]))?,
    );
    // Read before answering 304: an image that is gone must not look as if it were still there.
    let image = studio.image_file(hash).await?;
    if matches_etag(&request, &etag) {
        headers.insert(header::ETAG, etag);
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/png"));
    blob::send(image, &request, headers).await
}

/// The hash in `<hash>.png`; nothing else names an image.
fn hash_of(file: &str) -> Option<&str> {
    let hash = file.strip_suffix(".png")?;
    let fits = hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    fits.then_some(hash)
}

fn text(value: String) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(&value).map_err(Problem::internal)
}
