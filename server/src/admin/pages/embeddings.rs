//! The page of the embeddings, and what its forms post.

use std::collections::BTreeMap;

use adire_app::admin::{AdminPage, FormInput};
use adire_studio::Studio;
use axum::{
    extract::{Multipart, Query, State, multipart::MultipartRejection},
    http::{HeaderMap, request::Parts},
    response::Response,
};

use super::{Done, answer, put_back, to};
use crate::{
    admin::{
        api::embeddings::store,
        one_file::{self, Purpose},
    },
    error::Problem,
    layers::visitor::accepts_html,
    state::AppState,
};

pub(crate) async fn list(
    State(state): State<AppState>,
    Query(Done { done }): Query<Done>,
    parts: Parts,
) -> Response {
    let flash = done.as_deref().and_then(|done| match done {
        "added" => Some("Embedding added. Prompts can use its word now.".to_owned()),
        "known" => Some("Nothing added: the word stands for this file already.".to_owned()),
        "removed" => Some("Embedding removed.".to_owned()),
        _ => None,
    });
    let page = AdminPage::embeddings(&state.studio, flash, FormInput::default()).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn change(
    State(state): State<AppState>,
    parts: Parts,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Response, Problem> {
    let mut typed = FormInput::default();
    match act(&state.studio, &parts.headers, form, &mut typed.values).await {
        Ok(done) => Ok(to(format!("/admin/embeddings?done={done}"))),
        Err(problem) if accepts_html(&parts.headers) => {
            let status = put_back(&mut typed, problem);
            let page = AdminPage::embeddings(&state.studio, None, typed).await;
            let status = status.filter(|_| page.problem().is_none());
            Ok(answer(state, page, parts, status).await)
        }
        Err(problem) => Err(problem),
    }
}

/// Adds the form's file, or removes the word that it names; what was done, as a word.
async fn act(
    studio: &Studio,
    headers: &HeaderMap,
    form: Result<Multipart, MultipartRejection>,
    texts: &mut BTreeMap<String, String>,
) -> Result<&'static str, Problem> {
    let form = one_file::open(Purpose::Embedding, headers, form)?;
    let file = one_file::read(studio, Purpose::Embedding, form, &["word", "remove"], texts).await?;
    if let Some(word) = texts.remove("remove") {
        studio.remove_embedding(&word).await?;
        return Ok("removed");
    }
    let (_, is_new) = store(studio, file, texts).await?;
    Ok(if is_new { "added" } else { "known" })
}
