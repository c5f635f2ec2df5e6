//! The pages of sheets, and what their forms post.

use adire_app::admin::{AdminPage, FormInput, field_errors, sheet_request};
use adire_protocol::ValidationError;
use adire_studio::StudioError;
use axum::{
    extract::{Query, State},
    http::request::Parts,
    response::Response,
};

use super::{Posted, answer, live_part, refuse, to};
use crate::{error::Problem, extract::Segment, state::AppState};

/// The list, and the form with the fields of the query.
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<Vec<(String, String)>>,
    parts: Parts,
) -> Response {
    let page = AdminPage::sheets(&state.studio, FormInput::from_pairs(query)).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn create(
    State(state): State<AppState>,
    parts: Parts,
    Posted(mut form): Posted,
) -> Result<Response, Problem> {
    let made = match sheet_request(&form) {
        Ok(request) => state.studio.create_sheet(request).await,
        Err(errors) => Err(StudioError::Invalid(ValidationError(errors))),
    };
    match made {
        Ok(sheet) => Ok(to(format!("/admin/sheets/{}", sheet.id))),
        Err(error) => {
            let kind = error.kind();
            form.errors = field_errors(error);
            let page = AdminPage::sheets(&state.studio, form).await;
            Ok(refuse(state, page, parts, kind).await)
        }
    }
}

pub(crate) async fn show(State(state): State<AppState>, Segment(id): Segment, parts: Parts) -> Response {
    let page = AdminPage::sheet(&state.studio, &id, None).await;
    answer(state, page, parts, None).await
}

/// The part of the page that moves.
pub(crate) async fn live(State(state): State<AppState>, Segment(id): Segment, parts: Parts) -> Response {
    let page = AdminPage::sheet(&state.studio, &id, None).await;
    live_part(state, page, parts).await
}

pub(crate) async fn change(
    State(state): State<AppState>,
    Segment(id): Segment,
    parts: Parts,
    Posted(form): Posted,
) -> Result<Response, Problem> {
    let (done, next) = match form.get("action") {
        "cancel" => (state.studio.cancel_sheet(&id).await.map(drop), format!("/admin/sheets/{id}")),
        "delete" => (state.studio.delete_sheet(&id).await, "/admin/sheets".to_owned()),
        _ => return Err(Problem::field("action", "The action must be cancel or delete.")),
    };
    match done {
        Ok(()) => Ok(to(next)),
        Err(error) => {
            let page = AdminPage::sheet(&state.studio, &id, Some(error.to_string())).await;
            Ok(refuse(state, page, parts, error.kind()).await)
        }
    }
}
