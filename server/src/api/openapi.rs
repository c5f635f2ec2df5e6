//! The OpenAPI document, generated from the handlers.

use axum::{Extension, body::Bytes, http::header, response::IntoResponse};
use utoipa::OpenApi;

/// The document's header.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Adire",
        description = "Images from prompts by Stable Diffusion and LoRA adapters. Every error is \
                       `application/problem+json` with a `detail` that a person understands."
    ),
    tags(
        (name = "generations", description = "Create, follow and cancel generations"),
        (name = "images", description = "Generated images and their parameters"),
        (name = "adapters", description = "LoRA adapters that a request can apply"),
        (name = "datasets", description = "Admin: captioned images to train on"),
        (name = "training", description = "Admin: training runs"),
        (name = "server", description = "What this server offers"),
    )
)]
pub(crate) struct Description;

/// The finished document as JSON.
#[derive(Clone, Debug)]
pub(crate) struct Document(pub(crate) Bytes);

/// Get this OpenAPI document
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "server",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
pub(crate) async fn document(Extension(Document(json)): Extension<Document>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], json)
}
