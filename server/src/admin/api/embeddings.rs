//! Embedding files that the admin adds and removes while the server runs.

use std::collections::BTreeMap;

use adire_protocol::EmbeddingRecord;
use adire_studio::{Studio, StudioError, UploadedFile};
use axum::{
    Json,
    extract::{Multipart, State, multipart::MultipartRejection},
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};

use crate::{
    admin::one_file::{self, FILE, Purpose, in_field},
    error::Problem,
    extract::Segment,
};

/// The form, for the description of the API.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only describes the form")]
pub(crate) struct EmbeddingForm {
    /// A safetensors file of diffusers, A1111, kohya's scripts or ComfyUI; at most 16777216 bytes.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// Word that activates it in prompts; the file's own word, or its name, when absent.
    word: Option<String>,
}

/// Add an embedding file
///
/// A textual inversion, as a form (`multipart/form-data`). Prompts can use its word at once. The same file under the same word
/// is kept once.
#[utoipa::path(
    post,
    path = "/admin/api/embeddings",
    tag = "control",
    request_body(content = EmbeddingForm, content_type = "multipart/form-data"),
    responses(
        (status = 201, description = "Added", body = EmbeddingRecord),
        (status = 200, description = "The word stands for this file already", body = EmbeddingRecord),
        (status = 400, description = "The form was not received completely", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The word stands for another file", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The file is larger than 16777216 bytes", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not a multipart form", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No file, a word that prompts cannot hold, or a file that is not an embedding of the loaded model", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "The server's disk is full, or nearly so", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn add(
    State(studio): State<Studio>,
    headers: HeaderMap,
    form: Result<Multipart, MultipartRejection>,
) -> Result<impl IntoResponse, Problem> {
    let (mut texts, form) = (BTreeMap::new(), one_file::open(Purpose::Embedding, &headers, form)?);
    let file = one_file::read(&studio, Purpose::Embedding, form, &["word"], &mut texts).await?;
    let (embedding, is_new) = store(&studio, file, &texts).await?;
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(embedding)))
}

/// Adds the file of a form. Whether it is new.
///
/// # Errors
/// There is none, or it cannot be added.
pub(crate) async fn store(
    studio: &Studio,
    file: Option<UploadedFile>,
    texts: &BTreeMap<String, String>,
) -> Result<(EmbeddingRecord, bool), Problem> {
    let file = file.ok_or_else(|| Problem::field(FILE, "Choose a .safetensors file."))?;
    let word = texts.get("word").map(|word| word.trim().to_owned()).filter(|word| !word.is_empty());
    studio.add_uploaded_embedding(file, word).await.map_err(|error| match error {
        StudioError::EmbeddingExists { .. } => in_field("word", error),
        StudioError::Adapter(_) => in_field(FILE, error),
        other => other.into(),
    })
}

/// Remove an embedding
///
/// Prompts know its word no longer. The file stays, so that images made with it can be verified.
#[utoipa::path(
    delete,
    path = "/admin/api/embeddings/{word}",
    tag = "control",
    params(("word" = String, Path, description = "Its word, in whatever case")),
    responses(
        (status = 200, description = "The record of what was removed", body = EmbeddingRecord),
        (status = 404, description = "No embedding has that word", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn remove(
    State(studio): State<Studio>,
    Segment(word): Segment,
) -> Result<Json<EmbeddingRecord>, Problem> {
    Ok(Json(studio.remove_embedding(&word).await?))
}
