//! How much of the text encoder's room prompts take.

use adire_protocol::TokenCount;
use adire_studio::Studio;
use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{error::Problem, extract::JsonBody};

/// Prompts to count.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Prompts {
    /// What the image shows; `<lora:…>` tags take no room.
    prompt: String,
    /// What it should not show.
    negative_prompt: String,
    /// Adapters that take part, as `name@vN`: embeddings bundled in their files count by their words.
    adapters: Vec<String>,
}

/// Their sizes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Counts {
    /// Of the prompt.
    prompt: TokenCount,
    /// Of the negative prompt.
    negative_prompt: TokenCount,
}

/// Count a prompt's tokens
///
/// As the model's tokenizer counts them, with A1111's chunks of 75. Answers also while an image is being made.
#[utoipa::path(
    post,
    path = "/api/v1/tokens",
    tag = "server",
    request_body = Prompts,
    responses(
        (status = 200, description = "Tokens, capacity and chunks of each prompt", body = Counts),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A prompt is too long, or a field is unknown", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn tokens(
    State(studio): State<Studio>,
    JsonBody(Prompts { prompt, negative_prompt, adapters }): JsonBody<Prompts>,
) -> Result<Json<Counts>, Problem> {
    let (prompt, negative_prompt) = studio.count_tokens(prompt, negative_prompt, adapters).await?;
    Ok(Json(Counts { prompt, negative_prompt }))
}
