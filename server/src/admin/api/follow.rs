//! What happens to a training, as server-sent events.

use axum::{Extension, extract::State, http::HeaderMap, response::Response};
use futures::StreamExt;

use crate::{
    admin::session::{self, Access},
    api::events::{From, last_event_id, sent, stream_of},
    error::Problem,
    extract::{QueryOf, Segment},
    state::AppState,
};

/// Follow a training run
///
/// Server-sent events. Each has an `id`, the name of what changed as `event` (`job`, `point` or `sample`), and a
/// `TrainingEvent` as JSON in `data`. How the job stands comes first, then every point and sample with a number above the
/// last that was seen, then what happens. When a job went back to an earlier step, its `step` says so: points and samples
/// above it no longer count. The stream ends when the job is done, failed or cancelled, or when the session does.
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
pub(crate) async fn events(
    State(state): State<AppState>,
    Segment(id): Segment,
    QueryOf(from): QueryOf<From>,
    Extension(access): Extension<Access>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = last_event_id(&headers)?.or(from.after).unwrap_or(0);
    let events = state.studio.training_events(&id, after).await?;
    let out = session_end(&state, access, &headers);
    let events = events.map(|event| sent(event.id, event.change.name(), &event));
    Ok(stream_of(events, &state, (), out))
}

/// Waits until the session of a request ends; for ever where it has none.
pub(super) fn session_end(
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
