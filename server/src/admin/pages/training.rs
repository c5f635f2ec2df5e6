//! The pages of trainings, and what their forms post.

use adire_app::admin::{AdminPage, FormInput, admin_live, field_errors, training_request};
use adire_protocol::TrainingSettings;
use adire_studio::StudioError;
use axum::{
    Form,
    body::Body,
    extract::{Query, Request, State, rejection::FormRejection},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{answer, no_form};
use crate::{
    error::{Problem, ProblemKind},
    extract::Segment,
    render,
    state::AppState,
};

pub(crate) async fn list(State(state): State<AppState>, parts: Parts) -> Response {
    let page = AdminPage::trainings(&state.studio).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn form(
    State(state): State<AppState>,
    Query(query): Query<Vec<(String, String)>>,
    parts: Parts,
) -> Response {
    let page = AdminPage::new_training(&state.studio, FormInput::from_pairs(query)).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn start(
    State(state): State<AppState>,
    parts: Parts,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(pairs) = form.map_err(no_form)?;
    let mut form = FormInput::from_pairs(pairs);
    let (errors, status) = match training_request(&form) {
        Ok(request) => match state.studio.train(request).await {
            Ok(job) => return Ok(Redirect::to(&format!("/admin/training/{}", job.id)).into_response()),
            Err(error) => {
                let status = ProblemKind::from(error.kind()).status();
                (field_errors(error), status)
            }
        },
        Err(errors) => (errors, StatusCode::UNPROCESSABLE_ENTITY),
    };
    form.errors = errors;
    let page = AdminPage::invalid_training(&state.studio, form).await;
    Ok(answer(state, page, parts, Some(status)).await)
}

pub(crate) async fn compare(
    State(state): State<AppState>,
    Query(query): Query<Vec<(String, String)>>,
    parts: Parts,
) -> Response {
    let ids: Vec<_> =
        query.into_iter().filter(|(name, _)| name == "run" || name == "job").map(|(_, id)| id).collect();
    let page = AdminPage::comparison(&state.studio, &ids).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn imported(State(state): State<AppState>, parts: Parts) -> Response {
    let page = AdminPage::imported_runs(&state.studio).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn imported_run(
    State(state): State<AppState>,
    Segment(id): Segment,
    parts: Parts,
) -> Response {
    let page = AdminPage::imported_run(&state.studio, &id).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn settings(
    State(state): State<AppState>,
    parts: Parts,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(pairs) = form.map_err(no_form)?;
    // The second: the form of a page that was loaded before the name changed.
    let form = FormInput::from_pairs(pairs);
    let pauses =
        ["yield_to_generations", "pause_while_people_wait"].iter().any(|name| !form.get(name).is_empty());
    match state.studio.set_training_settings(TrainingSettings { yield_to_generations: pauses }).await {
        Ok(_) => Ok(Redirect::to("/admin/training").into_response()),
        Err(error) => Ok(answer(state, AdminPage::failed(&error), parts, None).await),
    }
}

pub(crate) async fn show(State(state): State<AppState>, Segment(id): Segment, parts: Parts) -> Response {
    let page = AdminPage::training(&state.studio, &id, None).await;
    answer(state, page, parts, None).await
}

/// The part of the page that moves.
pub(crate) async fn live(State(state): State<AppState>, Segment(id): Segment, parts: Parts) -> Response {
    let page = AdminPage::training(&state.studio, &id, None).await;
    let status = page.problem().map_or(StatusCode::OK, |kind| ProblemKind::from(kind).status());
    let request = Request::from_parts(parts, Body::empty());
    render::render(state, request, status, move || admin_live(page.clone())).await
}

#[derive(Debug, Deserialize)]
pub(crate) struct Action {
    action: String,
}

pub(crate) async fn act(
    State(state): State<AppState>,
    Segment(id): Segment,
    parts: Parts,
    form: Result<Form<Action>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(Action { action }) = form.map_err(no_form)?;
    let done = match action.as_str() {
        "pause" => state.studio.pause_training(&id).await,
        "resume" => state.studio.resume_training(&id).await,
        "cancel" => state.studio.cancel_training(&id).await,
        _ => return Err(Problem::field("action", "The action must be pause, resume or cancel.")),
    };
    match done {
        Ok(job) => Ok(Redirect::to(&format!("/admin/training/{}", job.id)).into_response()),
        Err(error) => Ok(refuse(state, parts, &id, &error).await),
    }
}

/// The page as it stands, and why nothing was done.
async fn refuse(state: AppState, parts: Parts, id: &str, error: &StudioError) -> Response {
    let status = ProblemKind::from(error.kind()).status();
    let page = AdminPage::training(&state.studio, id, Some(error.to_string())).await;
    let status = page.problem().is_none().then_some(status);
    answer(state, page, parts, status).await
}
