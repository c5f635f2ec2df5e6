//! Admin endpoints of evaluations and of the gate that judges them.

use std::time::Duration;

use adire_protocol::{EvaluationDetail, EvaluationRecord, EvaluationRequest, EvaluationStepName, GatePolicy};
use adire_studio::{Studio, StudioError};
use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response, sse},
};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;

use super::follow::session_end;
use crate::{
    admin::session::Access,
    api::events::stream_of,
    error::Problem,
    extract::{JsonBody, QueryOf, Segment, Segments},
    state::AppState,
};

/// How long a change can go unnoticed: one between a look at the record and the wait for the next, or of another node.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// Start an evaluation
///
/// Renders the version, the base model and the version in production (or `against`) on a suite of prompts, scores the images
/// and decides by the gate's settings. With `promote`, a version that passes goes into production.
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
            format!("The step must be prepare, render, score, verdict or promote; got “{shown}”."),
        )
    })
}

/// Follow an evaluation
///
/// Server-sent events named `evaluation`, each with the whole `EvaluationRecord` as JSON in `data`: the present one first, then
/// one whenever it has changed. The stream ends with the evaluation, or when the session does. There is nothing to resume:
/// after a lost connection, connect again.
#[utoipa::path(
    get,
    path = "/admin/api/evaluations/{id}/events",
    tag = "evaluations",
    params(("id" = String, Path, description = "Id of the evaluation, a UUID")),
    responses(
        (status = 200, description = "The events", body = EvaluationRecord, content_type = "text/event-stream"),
        (status = 404, description = "Evaluation not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn events(
    State(state): State<AppState>,
    Segment(id): Segment,
    Extension(access): Extension<Access>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // What does not exist is a 404 rather than an empty stream.
    state.studio.evaluation(&id).await?;
    let out = session_end(&state, access, &headers);
    let events = records(state.studio.clone(), id).filter_map(async |record| {
        let event = record.map(|record| sse::Event::default().event("evaluation").json_data(&record));
        match event {
            Ok(Ok(event)) => Some(event),
            Ok(Err(error)) => {
                tracing::error!(%error, "an evaluation could not be written as JSON");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "a stream ends early");
                None
            }
        }
    });
    Ok(stream_of(events, &state, (), out))
}

/// The record of an evaluation now and whenever it has changed; ends with it, with an error, or when the studio closes.
pub(crate) fn records(
    studio: Studio,
    id: String,
) -> impl Stream<Item = Result<EvaluationRecord, StudioError>> + Send + 'static {
    stream::unfold(Some((studio, id, None)), |followed| async move {
        let (studio, id, sent) = followed?;
        loop {
            let record = match studio.evaluation(&id).await {
                Ok(detail) => detail.evaluation,
                Err(error) => return Some((Err(error), None)),
            };
            if sent.as_ref() != Some(&record) {
                let next = (!record.state.is_final()).then(|| (studio, id, Some(record.clone())));
                return Some((Ok(record), next));
            }
            match tokio::time::timeout(MAX_DELAY, studio.evaluation_changed(&id)).await {
                Ok(Err(StudioError::ShuttingDown)) => return None,
                Ok(Err(error)) => return Some((Err(error), None)),
                Ok(Ok(())) | Err(_) => {}
            }
        }
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
