//! OpenAI's images, `/v1`: generations, edits, variations, and the models.

mod request;
mod stream;

use adire_protocol::{FieldError, Generation};
use axum::{
    Json,
    extract::{FromRequest, Multipart, Request as HttpRequest, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use self::request::{Delivery, Files, Purpose, Request};
use super::{
    bodies::AnyJson,
    images,
    models::{self, Listed},
    run::{self, Ask},
    sessions::KeyReused,
};
use crate::{
    error::{Problem, ProblemKind},
    extract::{OriginOf, Segment, parse},
    state::AppState,
    submission::Program,
};

/// What a client sends when it repeats a request.
const RETRIES: &str = "x-stainless-retry-count";

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
    AnyJson(body): AnyJson<Map<String, Value>>,
) -> Result<Response, Problem> {
    let digest = digest(Purpose::Generation, &body, &Files::default());
    let call = Call { state, program, origin: origin.0, headers, digest };
    call.answer(read(body)?, Purpose::Generation, Files::default()).await
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
        let (body, _held) = state.bodies.read(whole).await?;
        let request = HttpRequest::from_parts(parts, body.into());
        let (fields, files) = form(request).await?;
        let digest = digest(purpose, &fields, &files);
        let call = Self { state, program, origin: origin.0, headers, digest };
        call.answer(read(fields)?, purpose, files).await
    }

    async fn answer(self, request: Request, purpose: Purpose, files: Files) -> Result<Response, Problem> {
        let translated = tokio::task::spawn_blocking(move || request.translate(purpose, files));
        let (ask, delivery) = translated.await.map_err(Problem::internal)??;
        let generation = self.begin(ask).await?;
        if let Some(partial) = delivery.stream {
            return stream::answer(self.state, generation, purpose, delivery.format, partial).await;
        }
        let generation = run::finish(&self.state, generation).await?;
        if !run::is_done(&generation) {
            return Err(run::cancelled());
        }
        self.whole(&generation, delivery).await
    }

    /// Begins a generation, or joins the one that an earlier attempt has begun.
    async fn begin(&self, ask: Ask) -> Result<Generation, Problem> {
        let header = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok());
        let retries = header(RETRIES).and_then(|count| count.parse::<u32>().ok()).unwrap_or(0);
        let (key, again) = match header("idempotency-key").filter(|key| !key.is_empty() && key.len() <= 255) {
            Some(key) => (format!("key:{key}"), true),
            None => (format!("body:{}", self.digest), retries > 0),
        };
        let slot = self.state.sessions.slot(self.program.key(), &key, &self.digest, again);
        let slot = slot.map_err(|KeyReused| {
            let message = "This Idempotency-Key has been used for another request; use a new one.";
            let errors =
                vec![FieldError { field: "Idempotency-Key".to_owned(), message: message.to_owned() }];
            Problem { errors, ..Problem::new(ProblemKind::Unreadable, message) }
        })?;
        // In a task of its own: who hangs up and repeats the request must find it.
        let (state, caller) = (self.state.clone(), self.program.0.clone());
        let begun = tokio::spawn(async move {
            let mut begun = slot.lock().await;
            if let Some(id) = begun.as_ref()
                && let Ok(generation) = state.studio.generation(id).await
            {
                return Ok(generation);
            }
            let generation = run::begin(&state, &caller, ask).await?;
            *begun = Some(generation.id.clone());
            Ok(generation)
        });
        begun.await.map_err(Problem::internal)?
    }

    async fn whole(&self, generation: &Generation, delivery: Delivery) -> Result<Response, Problem> {
        let mut data = Vec::new();
        for image in &generation.images {
            data.push(match delivery.urls {
                true => json!({"url": format!("{}{}", self.origin, image.url)}),
                false => {
                    let file = images::file_as(&self.state.studio, image, delivery.format).await?;
                    json!({"b64_json": images::encode(&file)})
                }
            });
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

/// The texts and files of a form.
async fn form(request: HttpRequest) -> Result<(Map<String, Value>, Files), Problem> {
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| {
        Problem::new(ProblemKind::MediaType, format!("Expected a multipart form: {}.", error.body_text()))
    })?;
    let broken = |error: axum::extract::multipart::MultipartError| {
        let sentence = format!("The form was not received completely: {}.", error.body_text());
        Problem::new(ProblemKind::Unreadable, sentence)
    };
    let (mut fields, mut files) = (Map::new(), Files::default());
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "image" | "image[]" => files.images.push(field.bytes().await.map_err(broken)?.to_vec()),
            "mask" => files.mask = Some(field.bytes().await.map_err(broken)?.to_vec()),
            _ => {
                let text = field.text().await.map_err(broken)?;
                fields.insert(name, text.into());
            }
        }
    }
    Ok((fields, files))
}
