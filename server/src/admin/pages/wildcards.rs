//! The page of the wildcard lists, and what its form posts.

use adire_app::admin::{AdminPage, field_errors};
use axum::{
    extract::{Query, State},
    http::request::Parts,
    response::Response,
};

use super::{Done, Posted, answer, refuse, to};
use crate::{error::Problem, state::AppState};

pub(crate) async fn show(State(state): State<AppState>, Query(query): Query<Done>, parts: Parts) -> Response {
    let flash = query.done.is_some().then(|| "Lists saved.".to_owned());
    let page = AdminPage::wildcards(&state.studio, None, flash).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn change(
    State(state): State<AppState>,
    parts: Parts,
    Posted(mut form): Posted,
) -> Result<Response, Problem> {
    match state.studio.set_wildcards(form.get("wildcards")).await {
        Ok(()) => Ok(to("/admin/wildcards?done=save")),
        Err(error) => {
            let kind = error.kind();
            form.errors = field_errors(error);
            let page = AdminPage::wildcards(&state.studio, Some(form), None).await;
            Ok(refuse(state, page, parts, kind).await)
        }
    }
}
