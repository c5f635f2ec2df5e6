//! What happens to jobs of any kind, as server-sent events for the admin.

use adire_studio::JobEventStream;
use axum::{
    Extension,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use futures::StreamExt;

use crate::{
    admin::session::{self, Access},
    api::events::{From, last_event_id, sent, stream_of},
    error::Problem,
    extract::{QueryOf, Segment},
    state::AppState,
};

/// Follow any job
///
/// Server-sent events. Each has an `id`, the name of what happened as `event`, and JSON in `data`: an `Event` of a generation, a
/// `TrainingEvent` of a training run, the whole record of an evaluation (`evaluation`) or of a push (`push`). What has happened
/// comes first, then what happens; the stream ends with the job, or when the session does. To go on after a lost connection,
/// send the last id as `Last-Event-ID` (browsers do). When everything has been seen already, the answer is 204, at which an
/// `EventSource` stops asking.
#[utoipa::path(
    get,
    path = "/admin/api/jobs/{id}/events",
    tag = "control",
    params(
        ("id" = String, Path, description = "Id of the job, a UUID"),
        ("after" = Option<u64>, Query, description = "Only events with a larger number"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Same as `after`; takes precedence"),
    ),
    responses(
        (status = 200, description = "The events", content_type = "text/event-stream"),
        (status = 204, description = "The job has ended and every event was sent"),
        (status = 400, description = "The last event id is not a number", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Job not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn job(
    State(state): State<AppState>,
    Segment(id): Segment,
    QueryOf(from): QueryOf<From>,
    Extension(access): Extension<Access>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = after(&headers, &from)?;
    Ok(answer(state.studio.job_events(&id, after).await?, &state, access, &headers))
}

/// Follow a training run
///
/// Server-sent events. Each has an `id`, the name of what changed as `event` (`job`, `point` or `sample`), and a
/// `TrainingEvent` as JSON in `data`. The run's state comes first, then every point and sample with a number above the
/// last that was seen, then what happens. When a job went back to an earlier step, its `step` says so: points and samples
/// above it no longer count. The stream ends when the run is done, failed or cancelled, or when the session does.
#[utoipa::path(
    get,
    path = "/admin/api/training/{id}/events",
    tag = "training",
    params(
        ("id" = String, Path, description = "Id of the training run, a UUID"),
        ("after" = Option<u64>, Query, description = "Only points and samples with a larger number"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Same as `after`; takes precedence"),
    ),
    responses(
        (status = 200, description = "The events", body = adire_protocol::TrainingEvent, content_type = "text/event-stream"),
        (status = 400, description = "The last event id is not a number", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Training run not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn training(
    State(state): State<AppState>,
    Segment(id): Segment,
    QueryOf(from): QueryOf<From>,
    Extension(access): Extension<Access>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = after(&headers, &from)?;
    Ok(answer(state.studio.training_events(&id, after).await?, &state, access, &headers))
}

/// Follow an evaluation
///
/// Server-sent events named `evaluation`, each with an `id` and the whole `EvaluationRecord` as JSON in `data`: the present one
/// first, then one whenever it has changed. The stream ends with the evaluation, or when the session does. To go on after a
/// lost connection, send the last id as `Last-Event-ID` (browsers do). When everything has been seen already, the answer is
/// 204, at which an `EventSource` stops asking.
#[utoipa::path(
    get,
    path = "/admin/api/evaluations/{id}/events",
    tag = "evaluations",
    params(
        ("id" = String, Path, description = "Id of the evaluation, a UUID"),
        ("after" = Option<u64>, Query, description = "Only events with a larger number"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Same as `after`; takes precedence"),
    ),
    responses(
        (status = 200, description = "The events", body = adire_protocol::EvaluationRecord, content_type = "text/event-stream"),
        (status = 204, description = "The evaluation has ended and its last event was sent"),
        (status = 400, description = "The last event id is not a number", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Evaluation not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn evaluation(
    State(state): State<AppState>,
    Segment(id): Segment,
    QueryOf(from): QueryOf<From>,
    Extension(access): Extension<Access>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = after(&headers, &from)?;
    Ok(answer(state.studio.evaluation_events(&id, after).await?, &state, access, &headers))
}

/// Follow a push
///
/// Server-sent events named `push`, each with an `id` and the whole `PushRecord` as JSON in `data`: the present one first, then
/// one whenever it has changed. The stream ends with the push, or when the session does. To go on after a lost connection,
/// send the last id as `Last-Event-ID` (browsers do). When everything has been seen already, the answer is 204, at which an
/// `EventSource` stops asking.
#[utoipa::path(
    get,
    path = "/admin/api/pushes/{id}/events",
    tag = "control",
    params(
        ("id" = String, Path, description = "Id of the push, a UUID"),
        ("after" = Option<u64>, Query, description = "Only events with a larger number"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Same as `after`; takes precedence"),
    ),
    responses(
        (status = 200, description = "The events", body = adire_protocol::PushRecord, content_type = "text/event-stream"),
        (status = 204, description = "The push has ended and its last event was sent"),
        (status = 400, description = "The last event id is not a number", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Push not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn push(
    State(state): State<AppState>,
    Segment(id): Segment,
    QueryOf(from): QueryOf<From>,
    Extension(access): Extension<Access>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = after(&headers, &from)?;
    Ok(answer(state.studio.push_events(&id, after).await?, &state, access, &headers))
}

fn after(headers: &HeaderMap, from: &From) -> Result<u64, Problem> {
    Ok(last_event_id(headers)?.or(from.after).unwrap_or(0))
}

fn answer(events: Option<JobEventStream>, state: &AppState, access: Access, headers: &HeaderMap) -> Response {
    let Some(events) = events else { return StatusCode::NO_CONTENT.into_response() };
    let events = events.map(|event| sent(event.id, event.update.name(), &event.update));
    stream_of(events, state, (), session_end(state, access, headers))
}

/// Waits until the session of a request ends; for ever where it has none.
fn session_end(
    state: &AppState,
    access: Access,
    headers: &HeaderMap,
) -> impl Future<Output = ()> + Send + use<> {
    let token = match access {
        Access::SignedIn | Access::ByLink => session::token(&state.auth, headers),
        Access::ThisMachine | Access::ByToken | Access::Open => None,
    };
    state.auth.clone().until_out(token)
}
