//! The pages of evaluations and of the gate's settings, and what their forms post.

use adire_app::admin::{AdminPage, FormInput, field_errors};
use adire_protocol::{EvaluationRequest, GatePolicy};
use axum::{
    extract::{Query, State},
    http::request::Parts,
    response::Response,
};

use super::{Done, Posted, answer, live_part, refuse, to};
use crate::{admin::api::evaluations::step_of, error::Problem, extract::Segment, state::AppState};

pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<Vec<(String, String)>>,
    parts: Parts,
) -> Response {
    let page = AdminPage::evaluations(&state.studio, FormInput::from_pairs(query)).await;
    answer(state, page, parts, None).await
}

/// The form of the list, and the button of a version.
pub(crate) async fn start(
    State(state): State<AppState>,
    parts: Parts,
    Posted(mut form): Posted,
) -> Result<Response, Problem> {
    let given = |name| Some(form.get(name).to_owned()).filter(|text| !text.trim().is_empty());
    let request = EvaluationRequest {
        version: form.get("version").to_owned(),
        against: given("against"),
        suite: given("suite"),
        dataset: given("dataset"),
        promote: given("promote").is_some(),
        publish: given("publish").map(|name| name.trim().to_owned()),
        rerun: None,
    };
    match state.studio.evaluate(request).await {
        Ok(record) => Ok(to(format!("/admin/evaluations/{}", record.id))),
        Err(error) => {
            let kind = error.kind();
            form.errors = field_errors(error);
            let page = AdminPage::evaluations(&state.studio, form).await;
            Ok(refuse(state, page, parts, kind).await)
        }
    }
}

pub(crate) async fn show(State(state): State<AppState>, Segment(id): Segment, parts: Parts) -> Response {
    let page = AdminPage::evaluation(&state.studio, &id, None).await;
    answer(state, page, parts, None).await
}

/// The part of the page that moves.
pub(crate) async fn live(State(state): State<AppState>, Segment(id): Segment, parts: Parts) -> Response {
    let page = AdminPage::evaluation(&state.studio, &id, None).await;
    live_part(state, page, parts).await
}

/// Cancels the evaluation, or runs one of its steps again.
pub(crate) async fn act(
    State(state): State<AppState>,
    Segment(id): Segment,
    parts: Parts,
    Posted(form): Posted,
) -> Result<Response, Problem> {
    let done = match form.get("action") {
        "cancel" => state.studio.cancel_evaluation(&id).await,
        "rerun" => state.studio.rerun_evaluation(&id, step_of(form.get("step"))?).await,
        _ => return Err(Problem::field("action", "The action must be cancel or rerun.")),
    };
    match done {
        Ok(record) => Ok(to(format!("/admin/evaluations/{}", record.id))),
        Err(error) => {
            let page = AdminPage::evaluation(&state.studio, &id, Some(error.to_string())).await;
            Ok(refuse(state, page, parts, error.kind()).await)
        }
    }
}

pub(crate) async fn compare(
    State(state): State<AppState>,
    Query(query): Query<Vec<(String, String)>>,
    parts: Parts,
) -> Response {
    let page = AdminPage::version_comparison(&state.studio, FormInput::from_pairs(query)).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn gate(State(state): State<AppState>, Query(query): Query<Done>, parts: Parts) -> Response {
    let flash = query.done.map(|_| "Settings saved.".to_owned());
    let page = AdminPage::gate(&state.studio, None, flash).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn set_gate(
    State(state): State<AppState>,
    parts: Parts,
    Posted(mut form): Posted,
) -> Result<Response, Problem> {
    let toml = match form.get("action") {
        "save" => form.get("toml").to_owned(),
        "defaults" => String::new(),
        _ => return Err(Problem::field("action", "The action must be save or defaults.")),
    };
    match state.studio.set_gate_policy(GatePolicy { toml }).await {
        Ok(_) => Ok(to("/admin/gate?done=1")),
        Err(error) => {
            let kind = error.kind();
            form.errors = field_errors(error);
            let page = AdminPage::gate(&state.studio, Some(form), None).await;
            Ok(refuse(state, page, parts, kind).await)
        }
    }
}
