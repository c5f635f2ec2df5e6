//! Admin endpoints of evaluations and of the gate that judges them.

use adire_protocol::{
    EvaluationDetail, EvaluationRecord, EvaluationRequest, EvaluationStepName, GatePolicy, MetricInfo,
};
use adire_studio::Studio;
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Deserialize;

use crate::{
    error::Problem,
    extract::{JsonBody, QueryOf, Segment, Segments},
};

/// Start an evaluation
///
/// Renders the version, the base model and the version in production (or `against`) on a suite of prompts, scores the images
/// and decides by the gate's settings. With `promote`, a version that passes goes into production; with `publish`, it is
/// pushed to a repository of the Hugging Face Hub.
#[utoipa::path(
    post,
    path = "/admin/api/evaluations",
    tag = "evaluations",
    request_body = EvaluationRequest,
    responses(
        (status = 202, description = "Queued; `Location` is its URL", body = EvaluationRecord,
            headers(("location" = String, description = "URL of the evaluation"))),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields, listed in `errors`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn submit(
    State(studio): State<Studio>,
    JsonBody(request): JsonBody<EvaluationRequest>,
) -> Result<impl IntoResponse, Problem> {
    Ok(queued(studio.evaluate(request).await?))
}

/// The answer to a request that has queued an evaluation.
fn queued(record: EvaluationRecord) -> impl IntoResponse {
    let location = [(header::LOCATION, format!("/admin/api/evaluations/{}", record.id))];
    (StatusCode::ACCEPTED, location, Json(record))
}

/// Which evaluations are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    adapter: Option<String>,
}

/// List evaluations
///
/// Newest first, without their images.
#[utoipa::path(
    get,
    path = "/admin/api/evaluations",
    tag = "evaluations",
    params(("adapter" = Option<String>, Query, description = "Only those of versions of this adapter")),
    responses(
        (status = 200, description = "The full list", body = Vec<EvaluationRecord>),
        (status = 400, description = "The query cannot be read", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(studio): State<Studio>,
    QueryOf(Filter { adapter }): QueryOf<Filter>,
) -> Result<Json<Vec<EvaluationRecord>>, Problem> {
    Ok(Json(studio.evaluations(adapter.as_deref()).await?))
}

/// Get an evaluation
///
/// Its steps, images and verdict.
#[utoipa::path(
    get,
    path = "/admin/api/evaluations/{id}",
    tag = "evaluations",
    params(("id" = String, Path, description = "Id of the evaluation, a UUID")),
    responses(
        (status = 200, description = "The evaluation", body = EvaluationDetail),
        (status = 404, description = "Evaluation not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<EvaluationDetail>, Problem> {
    Ok(Json(studio.evaluation(&id).await?))
}

/// List metrics
///
/// What each number of a verdict means: its unit, its range, and which values are better.
#[utoipa::path(
    get,
    path = "/admin/api/evaluation-metrics",
    tag = "evaluations",
    responses((status = 200, description = "Every metric", body = Vec<MetricInfo>))
)]
pub(crate) async fn metrics(State(studio): State<Studio>) -> Json<Vec<MetricInfo>> {
    Json(studio.metrics().to_vec())
}

/// Cancel an evaluation
///
/// At once while it is queued, within one step of an image while it runs. Its images are kept for other evaluations.
#[utoipa::path(
    delete,
    path = "/admin/api/evaluations/{id}",
    tag = "evaluations",
    params(("id" = String, Path, description = "Id of the evaluation, a UUID")),
    responses(
        (status = 200, description = "The updated record", body = EvaluationRecord),
        (status = 404, description = "Evaluation not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has ended", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<EvaluationRecord>, Problem> {
    Ok(Json(studio.cancel_evaluation(&id).await?))
}

/// Run a step of an evaluation again
///
/// As a new evaluation of the same version with the same suite, in which this step runs even if its inputs have not changed;
/// the others reuse what they can.
#[utoipa::path(
    post,
    path = "/admin/api/evaluations/{id}/steps/{step}/rerun",
    tag = "evaluations",
    params(
        ("id" = String, Path, description = "Id of the evaluation, a UUID"),
        ("step" = EvaluationStepName, Path, description = "The step"),
    ),
    responses(
        (status = 202, description = "Queued; `Location` is its URL", body = EvaluationRecord,
            headers(("location" = String, description = "URL of the new evaluation"))),
        (status = 404, description = "Evaluation not found", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It has no such step, or a version was deleted", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn rerun(
    State(studio): State<Studio>,
    Segments([id, step]): Segments<2>,
) -> Result<impl IntoResponse, Problem> {
    Ok(queued(studio.rerun_evaluation(&id, step_of(&step)?).await?))
}

/// The step of that name.
pub(crate) fn step_of(name: &str) -> Result<EvaluationStepName, Problem> {
    EvaluationStepName::of(name).ok_or_else(|| {
        let shown: String = name.chars().take(40).collect();
        Problem::field(
            "step",
            format!("The step must be prepare, render, score, verdict, promote or publish; got “{shown}”."),
        )
    })
}

/// Get the gate's settings
///
/// Those of the loaded model, every value written out. `docs/evaluation.md` explains them.
#[utoipa::path(
    get,
    path = "/admin/api/gate",
    tag = "evaluations",
    responses((status = 200, description = "The settings", body = GatePolicy))
)]
pub(crate) async fn gate(State(studio): State<Studio>) -> Result<Json<GatePolicy>, Problem> {
    Ok(Json(studio.gate_policy().await?))
}

/// Change the gate's settings
///
/// For evaluations that start from now on. Whatever the TOML leaves out has its default; empty text restores all defaults.
#[utoipa::path(
    put,
    path = "/admin/api/gate",
    tag = "evaluations",
    request_body = GatePolicy,
    responses(
        (status = 200, description = "The updated settings", body = GatePolicy),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not TOML, an unknown key, or a number out of range", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn set_gate(
    State(studio): State<Studio>,
    JsonBody(policy): JsonBody<GatePolicy>,
) -> Result<Json<GatePolicy>, Problem> {
    Ok(Json(studio.set_gate_policy(policy).await?))
}
