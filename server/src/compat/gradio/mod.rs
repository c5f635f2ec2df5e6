//! Gradio's protocol for clients: `/config`, `/gradio_api/…` and `/login`. The endpoints are `/generate`, `/img2img` and
//! `/adapters`.

mod describe;
mod events;
mod request;

use std::{convert::Infallible, time::Duration};

use adire_protocol::{Upload, is_hash};
use adire_studio::{By, ImageUse};
use axum::{
    Form, Json,
    body::Bytes,
    extract::{FromRequest, Multipart, Query, Request, State, multipart::MultipartError},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use self::describe::{ENDPOINTS, Endpoint};
use super::{
    bodies::{AnyJson, Held},
    images, run,
    sessions::{Event, Outcome},
};
use crate::{
    error::{Problem, ProblemKind, unknown_address},
    extract::{OriginOf, Segment, Segments, generation_id},
    layers::{client::Arrival, credentials},
    state::AppState,
    submission::Program,
};

/// Longest session hash, in bytes; clients send a UUID or ten characters.
const MAX_SESSION_BYTES: usize = 128;

pub(crate) async fn config(State(state): State<AppState>, OriginOf(origin): OriginOf) -> Json<Value> {
    Json(describe::config(&origin, &state.studio.model().name))
}

pub(crate) async fn info(State(state): State<AppState>) -> Json<Value> {
    Json(describe::info(&state.studio.model().defaults))
}

/// A call in the queue.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Join {
    data: Vec<Value>,
    fn_index: usize,
    session_hash: String,
}

pub(crate) async fn join(
    State(state): State<AppState>,
    program: Program,
    AnyJson(join, held): AnyJson<Value>,
) -> Result<Json<Value>, Problem> {
    let Join { data, fn_index, session_hash } = read(join)?;
    if session_hash.is_empty() || session_hash.len() > MAX_SESSION_BYTES {
        return Err(Problem::field("session_hash", "session_hash is missing or too long."));
    }
    let endpoint = ENDPOINTS.get(fn_index).ok_or_else(|| {
        Problem::field("fn_index", format!("Function {fn_index} not found; /config lists them."))
    })?;
    let id = begin(&state, &program, endpoint, (data, held), Some(session_hash)).await?;
    Ok(Json(json!({"event_id": id})))
}

/// What fields with null mean here differs from what their absence means, so the body is read as it is.
fn read(body: Value) -> Result<Join, Problem> {
    serde_json::from_value(body)
        .map_err(|error| Problem::new(ProblemKind::Invalid, format!("The call could not be read: {error}.")))
}

/// Begins what an endpoint does, as an event of a session; without one, of a session of the event's own name.
async fn begin(
    state: &AppState,
    program: &Program,
    endpoint: &Endpoint,
    // With the room of their body, which ends when the generation has begun.
    (data, held): (Vec<Value>, Held),
    session: Option<String>,
) -> Result<String, Problem> {
    let event = if endpoint.parameters.is_empty() {
        Event { id: Uuid::new_v4().to_string(), outcome: Outcome::Adapters }
    } else {
        let ask = request::translate(&state.studio, endpoint, data).await?;
        let generation = run::begin(state, &program.0, ask).await?;
        drop(held);
        Event { id: generation.id, outcome: Outcome::Generation }
    };
    let id = event.id.clone();
    if !state.sessions.add(program.key(), session.as_ref().unwrap_or(&id), event) {
        return Err(Problem::new(
            ProblemKind::TooMany,
            "This session has too many events that nobody has read.",
        ));
    }
    Ok(id)
}

/// A session.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OfSession {
    session_hash: String,
}

pub(crate) async fn data(
    State(state): State<AppState>,
    program: Program,
    OriginOf(origin): OriginOf,
    Query(query): Query<OfSession>,
) -> Result<Response, Problem> {
    let held = state.streams.open(&program.0.client)?;
    Ok(events::of_session(state, program.key().to_owned(), query.session_hash, origin, held))
}

/// Stays open, as Gradio's does; its clients do not need it, because /config says so.
pub(crate) async fn heartbeat(
    State(state): State<AppState>,
    program: Program,
    Segment(_): Segment,
) -> Result<Response, Problem> {
    let held = state.streams.open(&program.0.client)?;
    let beats = stream::unfold(true, |first| async move {
        if !first {
            tokio::time::sleep(Duration::from_secs(15)).await;
        }
        Some(("data: ALIVE\n\n".to_owned(), false))
    });
    let beats = beats.map(move |beat| {
        let _held = &held;
        beat
    });
    Ok(events::respond(beats.take_until(state.shutdown.started())))
}

/// An event to stop.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Stop {
    event_id: String,
}

/// Stops the caller's own event.
pub(crate) async fn cancel(
    State(state): State<AppState>,
    program: Program,
    AnyJson(stop, _held): AnyJson<Stop>,
) -> Result<Json<Value>, Problem> {
    if state.sessions.has_event(program.key(), &stop.event_id)
        && let Ok(id) = generation_id(&stop.event_id)
    {
        match state.studio.cancel(&id, By::Client(&program.0.client)).await.map_err(Problem::from) {
            // Anything but a generation has ended already.
            Err(problem) if problem.is(ProblemKind::NotFound) => {}
            other => drop(other?),
        }
    }
    Ok(Json(json!({"success": true})))
}

/// A call by plain HTTP.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Call {
    data: Vec<Value>,
}

fn endpoint(name: &str) -> Result<&'static Endpoint, Problem> {
    let found = ENDPOINTS.iter().find(|endpoint| endpoint.name == name);
    found.ok_or_else(|| unknown_address(&format!("/gradio_api/call/{name}")))
}

pub(crate) async fn call(
    State(state): State<AppState>,
    program: Program,
    Segment(name): Segment,
    AnyJson(call, held): AnyJson<Value>,
) -> Result<Json<Value>, Problem> {
    let Call { data } = serde_json::from_value(call).map_err(|error| {
        Problem::new(ProblemKind::Invalid, format!("The call could not be read: {error}."))
    })?;
    let id = begin(&state, &program, endpoint(&name)?, (data, held), None).await?;
    Ok(Json(json!({"event_id": id})))
}

/// Waits for a call's result: `event: complete` or `event: error` at its end, `event: heartbeat` before.
pub(crate) async fn result(
    State(state): State<AppState>,
    program: Program,
    OriginOf(origin): OriginOf,
    Segments([name, id]): Segments<2>,
) -> Result<Response, Problem> {
    endpoint(&name)?;
    let held = state.streams.open(&program.0.client)?;
    let found = state.sessions.events(program.key(), &id).and_then(|(events, _)| events.into_iter().next());
    let event = found.ok_or_else(|| unknown_address(&format!("/gradio_api/call/{name}/{id}")))?;
    let messages = events::messages(&state, &event, &origin).await?;
    let caller = program.key().to_owned();
    let blocks = events::with_heartbeats(messages, events::HEARTBEAT).map(move |message| {
        let _held = &held;
        let Some(message) = message else {
            // Which keeps the session.
            state.sessions.events(&caller, &id);
            return "event: heartbeat\ndata: null\n\n".to_owned();
        };
        state.sessions.remove(&caller, &id, &id);
        match message.body["success"] == true {
            true => format!("event: complete\ndata: {}\n\n", message.body["output"]["data"]),
            false => format!("event: error\ndata: {}\n\n", message.body["output"]["error"]),
        }
    });
    Ok(events::respond(blocks))
}

/// Takes files in. Their paths are opaque names.
pub(crate) async fn upload(
    State(state): State<AppState>,
    program: Program,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (parts, body) = request.into_parts();
    let (body, _held) = state.bodies.read(Request::from_parts(parts.clone(), body)).await?;
    let form = Multipart::from_request(Request::from_parts(parts, body.into()), &state).await;
    let mut form = form.map_err(|error| {
        Problem::new(ProblemKind::MediaType, format!("Expected a multipart form: {}.", error.body_text()))
    })?;
    let broken = |error: MultipartError| {
        Problem::new(
            ProblemKind::Unreadable,
            format!("The form was not received completely: {}.", error.body_text()),
        )
    };
    let mut paths = Vec::new();
    while let Some(field) = form.next_field().await.map_err(broken)? {
        paths.push(keep(&state, &program, field.bytes().await.map_err(broken)?).await?);
    }
    Ok(Json(json!(paths)))
}

/// Keeps a file; its path. Which parameter it is for is not known yet, so one with transparency is kept as a mask, too.
async fn keep(state: &AppState, program: &Program, file: Bytes) -> Result<String, Problem> {
    let image = keep_as(state, program, file.clone(), ImageUse::Colours).await?;
    // Transparency is always among the warnings.
    if image.warnings.is_empty() {
        return Ok(request::path_of(&image.hash, &image.hash));
    }
    let mask = keep_as(state, program, file, ImageUse::Mask).await?;
    Ok(request::path_of(&image.hash, &mask.hash))
}

async fn keep_as(
    state: &AppState,
    program: &Program,
    file: Bytes,
    used_as: ImageUse,
) -> Result<Upload, Problem> {
    let chunks = stream::iter([Ok::<_, Infallible>(file)]);
    Ok(state.studio.upload(chunks, used_as, &program.0.client).await?)
}

/// A file by its path.
pub(crate) async fn file(
    State(state): State<AppState>,
    Segments([hash, _]): Segments<2>,
) -> Result<Response, Problem> {
    let hash =
        hash.strip_prefix("file=").filter(|hash| is_hash(hash)).ok_or_else(|| unknown_address(&hash))?;
    let file: Bytes = images::file(&state.studio, hash).await?.into();
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/png")),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable")),
    ];
    Ok((headers, file).into_response())
}

/// Who signs in; the password is a token.
#[derive(Debug, Deserialize)]
pub(crate) struct Credentials {
    password: String,
}

impl<S: Send + Sync> FromRequest<S> for Credentials {
    type Rejection = Problem;

    /// Gradio's Python client sends a plain form, its JavaScript client a multipart one.
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let unreadable = |why: String| {
            let sentence =
                format!("Expected a form with username and password: {}.", why.trim_end_matches('.'));
            Problem::new(ProblemKind::Unreadable, sentence)
        };
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("multipart/form-data")) {
            let form = Form::<Self>::from_request(request, state).await;
            return form.map(|Form(credentials)| credentials).map_err(|error| unreadable(error.body_text()));
        }
        let form = Multipart::from_request(request, state).await;
        let mut form = form.map_err(|error| unreadable(error.body_text()))?;
        let broken = |error: MultipartError| unreadable(error.body_text());
        while let Some(field) = form.next_field().await.map_err(broken)? {
            if field.name() == Some("password") {
                return Ok(Self { password: field.text().await.map_err(broken)? });
            }
        }
        Err(unreadable("password is missing".to_owned()))
    }
}

/// Exchanges a token for a cookie.
pub(crate) async fn login(
    State(state): State<AppState>,
    arrival: Arrival,
    Credentials { password }: Credentials,
) -> Result<Response, Problem> {
    let tokens = state.auth.tokens().clone();
    let found =
        tokio::task::spawn_blocking(move || tokens.find(&password)).await.map_err(Problem::internal)?;
    let token = found.map_err(Problem::internal)?.ok_or_else(|| {
        Problem::new(
            ProblemKind::UnknownToken,
            "Incorrect credentials: the password must be a token of this server.",
        )
    })?;
    let mut response = Json(json!({"success": true})).into_response();
    if let Some(cookie) = credentials::cookie(&token, state.access.visitor_key(), arrival.https) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
