//! The page of the wildcard lists, and what its form posts.

use adire_app::admin::{AdminPage, FormInput, field_errors};
use axum::{
    Form,
    extract::{Query, State},
    http::request::Parts,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{answer, control::Fields, no_form};
use crate::{
    error::{Problem, ProblemKind},
    state::AppState,
};

/// What was done last.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Done {
    done: Option<String>,
}

pub(crate) async fn show(State(state): State<AppState>, Query(query): Query<Done>, parts: Parts) -> Response {
    let flash = query.done.is_some().then(|| "Lists saved.".to_owned());
    let page = AdminPage::wildcards(&state.studio, None, flash).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn change(
    State(state): State<AppState>,
    parts: Parts,
    form: Fields,
) -> Result<Response, Problem> {
    let Form(pairs) = form.map_err(no_form)?;
    let mut form = FormInput::from_pairs(pairs);
    match state.studio.set_wildcards(form.get("wildcards")).await {
        Ok(()) => Ok(Redirect::to("/admin/wildcards?done=save").into_response()),
        Err(error) => {
            let status = ProblemKind::from(error.kind()).status();
            form.errors = field_errors(error);
            let page = AdminPage::wildcards(&state.studio, Some(form), None).await;
            Ok(answer(state, page, parts, Some(status)).await)
        }
    }
}
