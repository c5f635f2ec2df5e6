//! The page of blind votes, and what its forms post.

use adire_app::admin::{AdminPage, FormInput};
use axum::{
    Form,
    extract::State,
    http::request::Parts,
    response::{IntoResponse, Redirect, Response},
};

use super::{
    answer,
    control::{Fields, refused},
    no_form,
};
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
    form: Fields,
) -> Result<Response, Problem> {
    let Form(pairs) = form.map_err(no_form)?;
    let form = FormInput::from_pairs(pairs);
    let done = match form.get("action") {
        "create" => state.studio.compare(form.get("evaluation")).await,
        "close" => state.studio.close_comparison(form.get("id")).await,
        _ => return Err(Problem::field("action", "The action must be create or close.")),
    };
    match done {
        Ok(record) => Ok(Redirect::to(&format!("/admin/comparisons#{}", record.id)).into_response()),
        Err(error) => {
            let (flash, status) = refused(&error);
            let page = AdminPage::comparisons(&state.studio, origin, Some(flash)).await;
            Ok(answer(state, page, parts, status).await)
        }
    }
}
