//! The page of blind votes, and what its forms post.

use adire_app::admin::AdminPage;
use axum::{extract::State, http::request::Parts, response::Response};

use super::{Posted, answer, refuse, to};
use crate::{error::Problem, extract::OriginOf, state::AppState};

pub(crate) async fn list(
    State(state): State<AppState>,
    OriginOf(origin): OriginOf,
    parts: Parts,
) -> Response {
    let page = AdminPage::comparisons(&state.studio, origin, None).await;
    answer(state, page, parts, None).await
}

/// Starts a comparison on an evaluation's images, or ends one.
pub(crate) async fn change(
    State(state): State<AppState>,
    OriginOf(origin): OriginOf,
    parts: Parts,
    Posted(form): Posted,
) -> Result<Response, Problem> {
    let done = match form.get("action") {
        "create" => state.studio.compare(form.get("evaluation")).await,
        "close" => state.studio.close_comparison(form.get("id")).await,
        _ => return Err(Problem::field("action", "The action must be create or close.")),
    };
    match done {
        Ok(record) => Ok(to(format!("/admin/comparisons#{}", record.id))),
        Err(error) => {
            let page = AdminPage::comparisons(&state.studio, origin, Some(error.to_string())).await;
            Ok(refuse(state, page, parts, error.kind()).await)
        }
    }
}
