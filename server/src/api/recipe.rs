//! From a picture back to the request that made it.

use adire_protocol::GenerationRequest;
use axum::{Json, body::Bytes, http::HeaderMap};

use crate::{
    error::{Problem, ProblemKind},
    extract::{but, media_type},
};

/// Largest PNG taken, in bytes.
pub(crate) const LARGEST_PNG: usize = 32 << 20;

/// Read a picture's parameters
///
/// The body is a PNG file made by Adire, AUTOMATIC1111's web UI or a program that writes the same `parameters`
/// text. What the text does not say is absent from the answer. Nothing is stored.
#[utoipa::path(
    post,
    path = "/api/v1/recipe",
    tag = "images",
    request_body(content = Vec<u8>, description = "A PNG file, at most 32 MiB", content_type = "image/png"),
    responses(
        (status = 200, description = "The request that makes such a picture", body = GenerationRequest),
        (status = 413, description = "Larger than 32 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not sent as a PNG", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No PNG, or no parameters in it", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn recipe(
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Json<GenerationRequest>, Problem> {
    let media_type = media_type(&headers);
    if !matches!(media_type.as_str(), "image/png" | "application/octet-stream" | "") {
        let sentence = format!(
            "This address takes a PNG file; send it with Content-Type: image/png{}.",
            but(&media_type)
        );
        return Err(Problem::new(ProblemKind::MediaType, sentence));
    }
    let png = body?;
    // Inflating a large text entry takes a moment; other requests should not wait for it.
    let request = tokio::task::spawn_blocking(move || adire_studio::read_request(&png)).await;
    Ok(Json(request.map_err(Problem::internal)??))
}
