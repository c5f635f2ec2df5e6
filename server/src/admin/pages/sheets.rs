//! The pages of sheets, and what their forms post.

use adire_app::admin::{AdminPage, FormInput, admin_live, field_errors, sheet_request};
use axum::{
    Form,
    body::Body,
    extract::{Query, Request, State},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Redirect, Response},
};

use super::{
    answer,
    control::{Fields, refused},
    no_form,
};
use crate::{
    error::{Problem, ProblemKind},
    extract::Segment,
    render,
    state::AppState,
};

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
    form: Fields,
) -> Result<Response, Problem> {
    let Form(pairs) = form.map_err(no_form)?;
    let mut form = FormInput::from_pairs(pairs);
    let (errors, status) = match sheet_request(&form) {
        Ok(request) => match state.studio.create_sheet(request).await {
            Ok(sheet) => return Ok(Redirect::to(&format!("/admin/sheets/{}", sheet.id)).into_response()),
            Err(error) => {
                let status = ProblemKind::from(error.kind()).status();
                (field_errors(error), status)
            }
        },
        Err(errors) => (errors, StatusCode::UNPROCESSABLE_ENTITY),
    };
    form.errors = errors;
    let page = AdminPage::sheets(&state.studio, form).await;
    Ok(answer(state, page, parts, Some(status)).await)
}

pub(crate) async fn show(State(state): State<AppState>, Segment(id): Segment, parts: Parts) -> Response {
    let page = AdminPage::sheet(&state.studio, &id, None).await;
    answer(state, page, parts, None).await
}

/// The part of the page that moves.
pub(crate) async fn live(State(state): State<AppState>, Segment(id): Segment, parts: Parts) -> Response {
    let page = AdminPage::sheet(&state.studio, &id, None).await;
    let status = page.problem().map_or(StatusCode::OK, |kind| ProblemKind::from(kind).status());
    let request = Request::from_parts(parts, Body::empty());
    render::render(state, request, status, move || admin_live(page.clone())).await
}

pub(crate) async fn change(
    State(state): State<AppState>,
    Segment(id): Segment,
    parts: Parts,
    form: Fields,
) -> Result<Response, Problem> {
    let Form(pairs) = form.map_err(no_form)?;
    let form = FormInput::from_pairs(pairs);
    let (done, to) = match form.get("action") {
        "cancel" => (state.studio.cancel_sheet(&id).await.map(drop), format!("/admin/sheets/{id}")),
        "delete" => (state.studio.delete_sheet(&id).await, "/admin/sheets".to_owned()),
        _ => return Err(Problem::field("action", "The action must be cancel or delete.")),
    };
    match done {
        Ok(()) => Ok(Redirect::to(&to).into_response()),
        Err(error) => {
            let (flash, status) = refused(&error);
            let page = AdminPage::sheet(&state.studio, &id, Some(flash)).await;
            Ok(answer(state, page, parts, status).await)
        }
    }
}
