//! The description of the API, made from the handlers themselves.

use axum::{Extension, body::Bytes, http::header, response::IntoResponse};
use utoipa::OpenApi;

/// What stands above the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Adire",
        description = "Images from prompts by Stable Diffusion and LoRA adapters. Every error is \
                       `application/problem+json` with a `detail` that a person understands."
    ),
    tags(
        (name = "generations", description = "Ask for pictures, follow and stop them"),
        (name = "images", description = "Finished pictures and their parameters"),
        (name = "adapters", description = "Styles that a request may apply"),
        (name = "datasets", description = "For operators: pictures to train on"),
        (name = "training", description = "For operators: adapters from pictures"),
        (name = "server", description = "What this server offers"),
    )
)]
pub(crate) struct Description;

/// The finished document as JSON.
#[derive(Clone, Debug)]
pub(crate) struct Document(pub(crate) Bytes);

/// This description
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "server",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
pub(crate) async fn document(Extension(Document(json)): Extension<Document>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], json)
}
