//! From an image back to the request that generated it.

use adire_protocol::GenerationRequest;
use adire_studio::Studio;
use axum::{Json, body::Bytes, extract::State, http::HeaderMap};
use serde::Deserialize;

use crate::{
    error::{Problem, ProblemKind},
    extract::{QueryOf, but, media_type},
};

/// Largest image file taken, in bytes.
pub(crate) const MAX_PNG_BYTES: usize = 32 << 20;

/// How the answer is wanted.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RecipeQuery {
    /// The parameters as they stand in the file, even where this server would refuse them.
    as_read: bool,
}

/// Read an image's parameters
///
/// The body is a PNG, JPEG or WebP file made by Adire, AUTOMATIC1111's web UI, Forge, SD.Next, ComfyUI, SwarmUI, Fooocus,
/// InvokeAI, NovelAI, Draw Things, Easy Diffusion or a program that writes what one of them does. The answer is a request
/// that this server takes: it can be sent to `POST /api/v1/generations` as it is. What the file does not say is absent.
/// `unknown` lists the parameters that were not understood, `warnings` says what was left out or read in part. Nothing
/// is stored.
#[utoipa::path(
    post,
    path = "/api/v1/recipe",
    tag = "images",
    params(RecipeQuery),
    request_body(content = Vec<u8>, description = "A PNG, JPEG or WebP file, at most 32 MiB", content_type = "image/png"),
    responses(
        (status = 200, description = "The request that generates this image", body = GenerationRequest),
        (status = 413, description = "Larger than 32 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not an image", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Unsupported image, or no parameters in it", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn recipe(
    State(studio): State<Studio>,
    QueryOf(query): QueryOf<RecipeQuery>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Json<GenerationRequest>, Problem> {
    let media_type = media_type(&headers);
    let taken = ["image/png", "image/jpeg", "image/webp", "application/octet-stream", ""];
    if !taken.contains(&media_type.as_str()) {
        let sentence = format!(
            "Expected an image; set Content-Type: image/png, image/jpeg or image/webp{}.",
            but(&media_type)
        );
        return Err(Problem::new(ProblemKind::MediaType, sentence));
    }
    Ok(Json(studio.recipe(body?, query.as_read).await?))
}
