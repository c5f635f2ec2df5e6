//! What happens to jobs, as server-sent events: the one way in which they are sent, and the address of generations'.

use std::{convert::Infallible, pin::Pin, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response, Sse, sse},
};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Problem, ProblemKind},
    extract::{ClientOf, GenerationId, QueryOf},
    state::AppState,
};

/// Comments keep proxies from closing a stream on which nothing happens.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a browser waits before it asks again after a lost connection.
const RETRY: Duration = Duration::from_secs(1);

/// From where on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct From {
    /// The last event that the client has; the header `Last-Event-ID` goes before it.
    pub(crate) after: Option<u64>,
}

/// Follow a generation
///
/// Server-sent events. Each has an `id`, the name of what happened as `event`, and an `Event` as JSON in `data`.
/// What has happened comes first, then what happens; progress that something later supersedes may be left out, so
/// numbers grow but have gaps. The stream ends after `done`, `failed` or `cancelled`. To
/// go on after a lost connection, send the last id as `Last-Event-ID` (browsers do). When everything has been
/// seen already, the answer is 204, at which an `EventSource` stops asking.
#[utoipa::path(
    get,
    path = "/api/v1/generations/{id}/events",
    tag = "generations",
    params(
        ("id" = String, Path, description = "Id of the generation, a UUID"),
        ("after" = Option<u64>, Query, description = "Only events with a larger number"),
        ("Last-Event-ID" = Option<u64>, Header, description = "Same as `after`; takes precedence"),
    ),
    responses(
        (status = 200, description = "The events", body = adire_protocol::Event, content_type = "text/event-stream"),
        (status = 204, description = "The generation has ended and every event was sent"),
        (status = 400, description = "The id is not a UUID, or the last event id is not a number", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Generation not found", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "This client follows too many generations", body = Problem, content_type = "application/problem+json",
            headers(("retry-after" = u64, description = "Seconds"))),
    )
)]
pub(crate) async fn events(
    State(state): State<AppState>,
    GenerationId(id): GenerationId,
    ClientOf(client): ClientOf,
    QueryOf(from): QueryOf<From>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = last_event_id(&headers)?.or(from.after).unwrap_or(0);
    let ended = state.studio.generation(&id).await?.state.is_final();
    let mut events = state.studio.events(&id, after).await?.peekable();
    // All events of an ended generation are there already, so this does not wait.
    if ended && Pin::new(&mut events).peek().await.is_none() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let place = state.streams.open(&client)?;
    let events = events.map(|event| sent(event.id, event.event.name(), &event));
    Ok(stream_of(events, &state, place, std::future::pending()))
}

/// One event of a job of any kind.
pub(crate) fn sent(id: u64, name: &str, event: &impl Serialize) -> sse::Event {
    let numbered = sse::Event::default().id(id.to_string()).event(name);
    match serde_json::to_string(event) {
        Ok(json) => numbered.data(json),
        Err(error) => {
            tracing::error!(%error, id, "an event could not be written as JSON");
            sse::Event::default().comment("an event could not be written")
        }
    }
}

/// The answer that such a stream is. `held` is kept until the stream ends, however it does; it also ends with `until`.
pub(crate) fn stream_of(
    events: impl Stream<Item = sse::Event> + Send + 'static,
    state: &AppState,
    held: impl Send + 'static,
    until: impl Future<Output = ()> + Send + 'static,
) -> Response {
    let events = stream::once(async { sse::Event::default().retry(RETRY) })
        .chain(events)
        .map(move |event| {
            let _held = &held;
            Ok::<_, Infallible>(event)
        })
        .take_until(state.shutdown.started())
        .take_until(until);
    let mut response =
        Sse::new(events).keep_alive(sse::KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx holds answers back otherwise.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// The number of the last event that the client has.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.parse().map_err(|_| {
        Problem::new(ProblemKind::Unreadable, "Last-Event-ID must be the number of the last event received.")
    })?;
    Ok(Some(number))
}
