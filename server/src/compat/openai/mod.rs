//! OpenAI's images, `/v1`: generations, edits, variations, and the models.

mod form;
mod request;
mod stream;

use std::sync::Arc;

use adire_protocol::{FieldError, Generation, GenerationState};
use axum::{
    Json,
    extract::{Request as HttpRequest, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use self::{
    form::form,
    request::{Delivery, Files, Purpose, Request},
};
use super::{
    bodies::{AnyJson, Held},
    images,
    models::{self, Listed},
    run::{self, Ask},
    sessions::{KeyReused, Repeated, Slot},
};
use crate::{
    error::{Problem, ProblemKind},
    extract::{OriginOf, Segment, parse},
    state::AppState,
    submission::Program,
};

/// What a client sends when it repeats a request.
const RETRIES: &str = "x-stainless-retry-count";
/// By which a client knows that it should not.
const SHOULD_RETRY: &str = "x-should-retry";
/// How long after its end a generation is joined by a request that has no key: milliseconds.
const JOINED_FOR_MS: i64 = 15 * 60 * 1000;

pub(crate) async fn models(State(state): State<AppState>) -> Result<Json<Value>, Problem> {
    let listed = models::list(&state.studio).await?.into_iter().map(model_of);
    Ok(Json(json!({"object": "list", "data": listed.collect::<Vec<_>>()})))
}

pub(crate) async fn model(
    State(state): State<AppState>,
    Segment(id): Segment,
) -> Result<Json<Value>, Problem> {
    Ok(Json(model_of(models::find_listed(&state.studio, &id).await?)))
}

fn model_of(listed: Listed) -> Value {
    json!({"id": listed.title, "object": "model", "created": listed.created, "owned_by": "adire"})
}

pub(crate) async fn generations(
    State(state): State<AppState>,
    program: Program,
    origin: OriginOf,
    headers: HeaderMap,
    AnyJson(body, held): AnyJson<Map<String, Value>>,
) -> Result<Response, Problem> {
    let digest = digest(Purpose::Generation, &body, &Files::default());
    let call = Call { state, program, origin: origin.0, headers, digest };
    call.answer(read(body)?, Purpose::Generation, Files::default(), held).await
}

pub(crate) async fn edits(
    State(state): State<AppState>,
    program: Program,
    origin: OriginOf,
    headers: HeaderMap,
    request: HttpRequest,
) -> Result<Response, Problem> {
    Call::of_form(state, program, origin, headers, request, Purpose::Edit).await
}

pub(crate) async fn variations(
    State(state): State<AppState>,
    program: Program,
    origin: OriginOf,
    headers: HeaderMap,
    request: HttpRequest,
) -> Result<Response, Problem> {
    Call::of_form(state, program, origin, headers, request, Purpose::Variation).await
}

fn read(body: Map<String, Value>) -> Result<Request, Problem> {
    parse(Value::Object(body).to_string().as_bytes())
}

/// One call.
struct Call {
    state: AppState,
    program: Program,
    origin: String,
    headers: HeaderMap,
    /// Of the request.
    digest: String,
}

impl Call {
    async fn of_form(
        state: AppState,
        program: Program,
        origin: OriginOf,
        headers: HeaderMap,
        request: HttpRequest,
        purpose: Purpose,
    ) -> Result<Response, Problem> {
        let (parts, body) = request.into_parts();
        let whole = HttpRequest::from_parts(parts.clone(), body);
        let (body, held) = state.bodies.read(whole).await?;
        let request = HttpRequest::from_parts(parts, body.into());
        let (fields, files) = form(request).await?;
        let digest = digest(purpose, &fields, &files);
        let call = Self { state, program, origin: origin.0, headers, digest };
        call.answer(read(fields)?, purpose, files, held).await
    }

    /// `held`: the room of the body, which ends when the generation has begun.
    async fn answer(
        self,
        request: Request,
        purpose: Purpose,
        files: Files,
        held: Held,
    ) -> Result<Response, Problem> {
        let translated = match files.is_empty() {
            true => request.translate(purpose, files),
            false => {
                let work = move || request.translate(purpose, files);
                self.state.studio.in_turn(&self.program.0.client, work).await?
            }
        };
        let (ask, delivery) = translated?;
        let (generation, slot) = self.begin(ask, held).await?;
        if let Some(partial) = delivery.stream {
            return stream::answer(self.state, generation, purpose, delivery.format, partial).await;
        }
        let generation = run::finish(&self.state, generation).await?;
        if !run::is_done(&generation) {
            // Its clients repeat what fails inside the server.
            return Ok(([(SHOULD_RETRY, "false")], run::cancelled()).into_response());
        }
        let whole = self.whole(&generation, delivery).await?;
        slot.answer();
        Ok(whole)
    }

    /// Begins a generation, or joins the one that an earlier attempt has begun.
    async fn begin(&self, ask: Ask, held: Held) -> Result<(Generation, Arc<Slot>), Problem> {
        let header = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok());
        let retries = header(RETRIES).and_then(|count| count.parse::<u32>().ok()).unwrap_or(0);
        let (key, repeated) =
            match header("idempotency-key").filter(|key| !key.is_empty() && key.len() <= 255) {
                Some(key) => (format!("key:{key}"), Repeated::ByKey),
                None => (format!("body:{}", self.digest), Repeated::Times(retries)),
            };
        let slot = self.state.sessions.slot(self.program.key(), &key, &self.digest, repeated);
        let slot = slot.map_err(|KeyReused| {
            let message = "This Idempotency-Key has been used for another request; use a new one.";
            let errors =
                vec![FieldError { field: "Idempotency-Key".to_owned(), message: message.to_owned() }];
            Problem { errors, ..Problem::new(ProblemKind::Unreadable, message) }
        })?;
        // In a task of its own: who hangs up and repeats the request must find it.
        let (state, caller) = (self.state.clone(), self.program.0.clone());
        let begun = tokio::spawn(async move {
            let mut begun = slot.generation.lock().await;
            let known = match begun.as_ref() {
                Some(id) => state.studio.generation(id).await.ok(),
                None => None,
            };
            let generation = match known.filter(|generation| is_joined(generation, repeated)) {
                Some(generation) => generation,
                None => {
                    let generation = run::begin(&state, &caller, ask).await?;
                    *begun = Some(generation.id.clone());
                    generation
                }
            };
            drop((begun, held));
            Ok((generation, slot))
        });
        begun.await.map_err(Problem::internal)?
    }

    async fn whole(&self, generation: &Generation, delivery: Delivery) -> Result<Response, Problem> {
        let mut data = Vec::new();
        for image in &generation.images {
            let mut entry = Map::new();
            if delivery.has_base64 {
                let file = images::file_as(&self.state.studio, image, delivery.format).await?;
                entry.insert("b64_json".to_owned(), images::encode(&file).into());
            }
            if delivery.has_urls {
                entry.insert("url".to_owned(), format!("{}{}", self.origin, image.url).into());
            }
            data.push(Value::Object(entry));
        }
        let body = json!({
            "created": generation.created_at / 1000,
            "data": data,
            "background": "opaque",
            "output_format": delivery.format.name(),
            "quality": "auto",
            "size": size_of(generation),
            "usage": usage(),
        });
        let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        Ok((headers, Json(body)).into_response())
    }
}

/// Whether a repetition of the request that has begun this generation joins it. One that failed is tried again.
fn is_joined(generation: &Generation, repeated: Repeated) -> bool {
    let ended = generation.finished_at.filter(|_| repeated != Repeated::ByKey);
    generation.state != GenerationState::Failed
        && ended.is_none_or(|ended| adire_studio::time::now() - ended < JOINED_FOR_MS)
}

/// `512x512`.
fn size_of(generation: &Generation) -> String {
    let (width, height) = generation.spec.final_size();
    format!("{width}x{height}")
}

/// Nothing is charged for by tokens here.
fn usage() -> Value {
    json!({
        "total_tokens": 0, "input_tokens": 0, "output_tokens": 0,
        "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
    })
}

/// What tells two requests apart.
fn digest(purpose: Purpose, fields: &Map<String, Value>, files: &Files) -> String {
    let mut digest = Sha256::new().chain_update(format!("{purpose:?}"));
    // Fields in the order of their names, whatever order they came in.
    let mut names: Vec<_> = fields.iter().collect();
    names.sort_by_key(|(name, _)| name.as_str());
    for (name, value) in names {
        digest.update(format!("\0{name}={value}"));
    }
    for file in files.images.iter().chain(&files.mask) {
        digest.update([1]);
        digest.update(Sha256::digest(file));
    }
    hex::encode(digest.finalize())
}
