//! What handlers take from a request, with rejections that say what to change. axum's own extractors would
//! answer in plain text.

use adire_protocol::FieldError;
use adire_studio::Client;
use axum::{
    Form,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{
    error::{Problem, ProblemKind, unknown_address},
    layers::client::Arrival,
    nulls::without_nulls,
};

/// A JSON body.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let media_type = media_type(request.headers());
        if !(media_type == "application/json" || media_type.ends_with("+json")) {
            return Err(Problem::new(
                ProblemKind::MediaType,
                format!("Expected JSON; set Content-Type: application/json{}.", but(&media_type)),
            ));
        }
        let body = Bytes::from_request(request, state).await?;
        parse(&body).map(Self)
    }
}

/// A form: all its fields, of which several may have one name, or those of `T`.
#[derive(Debug)]
pub(crate) struct Posted<T = Vec<(String, String)>>(pub(crate) T);

impl Posted {
    /// The first field of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Posted<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let form = Form::<T>::from_request(request, state).await;
        form.map(|Form(fields)| Self(fields)).map_err(|rejection| {
            let kind = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => ProblemKind::TooLarge,
                StatusCode::UNSUPPORTED_MEDIA_TYPE => ProblemKind::MediaType,
                // A form, but not of these fields.
                StatusCode::UNPROCESSABLE_ENTITY => ProblemKind::Invalid,
                _ => ProblemKind::Unreadable,
            };
            Problem::new(kind, format!("The form could not be read: {}.", rejection.body_text()))
        })
    }
}

/// The media type of the body without parameters, in lower case; empty when there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// `, not x`, or empty without a Content-Type.
pub(crate) fn but(media_type: &str) -> String {
    let shown: String = media_type.chars().take(60).collect();
    if shown.is_empty() { String::new() } else { format!(", not {shown}") }
}

/// Reads a JSON object; null means absent.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // serde would take a list for an object, field by field.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::new(ProblemKind::Invalid, "The body is a list; a JSON object is expected."));
    }
    let Some(value) = without_nulls(body).map_err(|error| explain(".", &error, body))? else {
        let message = "The body is null; a JSON object is expected.";
        return Err(Problem::new(ProblemKind::Invalid, message));
    };
    serde_path_to_error::deserialize(value).map_err(|error| {
        let field = error.path().to_string();
        explain(&field, error.inner(), body)
    })
}

/// Malformed JSON is a 400; valid JSON that is not a valid request is a 422 that names the field.
fn explain(field: &str, error: &serde_json::Error, body: &[u8]) -> Problem {
    if !error.is_data() {
        let text = String::from_utf8_lossy(body);
        let hint = if ["NaN", "Infinity"].iter().any(|word| text.contains(word)) {
            " JSON has no NaN or Infinity."
        } else {
            ""
        };
        return Problem::new(ProblemKind::Unreadable, format!("The body is not valid JSON: {error}.{hint}"));
    }
    let message = error.to_string();
    // serde_json appends where in the text it was; the field's name says more.
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    let message = message.replace("expected u32", "expected a whole number from 0 to 4294967295");
    let message = message.replace("expected u64", "expected a whole number from 0 up");
    let message = message.replace("expected f64", "expected a number");
    let message = message.replace("expected a sequence", "expected a list");
    let message = message.replace("expected struct GenerationRequest", "expected an object with a “prompt”");
    let message = message.replace("expected struct AdapterUse", "expected an object with a “name”");
    if field == "." {
        let sentence = format!("Invalid request body: {message}.");
        return Problem::new(ProblemKind::Invalid, sentence);
    }
    let sentence = format!("Invalid “{field}”: {message}.");
    let errors = vec![FieldError { field: field.to_owned(), message: sentence.clone() }];
    Problem { errors, ..Problem::new(ProblemKind::Invalid, sentence) }
}

/// The one parameter of an address, as text.
#[derive(Debug)]
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = <Path<String> as FromRequestParts<S>>::from_request_parts(parts, state).await;
        let Path(text) = text.map_err(|_| unknown_address(parts.uri.path()))?;
        Ok(Self(text))
    }
}

/// The parameters of an address with several, as texts.
#[derive(Debug)]
pub(crate) struct Segments<const N: usize>(pub(crate) [String; N]);

impl<const N: usize, S: Send + Sync> FromRequestParts<S> for Segments<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let texts = <Path<Vec<String>> as FromRequestParts<S>>::from_request_parts(parts, state).await;
        let texts = texts.ok().and_then(|Path(texts)| texts.try_into().ok());
        texts.map(Self).ok_or_else(|| unknown_address(parts.uri.path()))
    }
}

/// The id of a generation in the address, as a UUID in its usual form.
#[derive(Debug)]
pub(crate) struct GenerationId(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for GenerationId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Segment(text) = Segment::from_request_parts(parts, state).await?;
        generation_id(&text).map(Self)
    }
}

/// A generation's id in its usual form.
pub(crate) fn generation_id(text: &str) -> Result<String, Problem> {
    let id = Uuid::parse_str(text).map_err(|_| {
        let shown: String = text.chars().take(60).collect();
        Problem::new(ProblemKind::Unreadable, format!("“{shown}” is not a generation id; expected a UUID."))
    })?;
    Ok(id.to_string())
}

/// A query string.
#[derive(Debug)]
pub(crate) struct QueryOf<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(value) = Query::<T>::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

/// Scheme and host by which the browser reached the server, `https://example.org`; empty where no host was named.
#[derive(Debug)]
pub(crate) struct OriginOf(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for OriginOf {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let Some(Arrival { https, host: Some(host), .. }) = parts.extensions.get::<Arrival>() else {
            return Ok(Self(String::new()));
        };
        Ok(Self(format!("{}://{host}", if *https { "https" } else { "http" })))
    }
}

/// Who asks, as the layers found out.
#[derive(Debug)]
pub(crate) struct ClientOf(pub(crate) Client);

impl<S: Send + Sync> FromRequestParts<S> for ClientOf {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get().cloned().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use adire_protocol::GenerationRequest;

    use super::*;

    fn refused(body: &str) -> Problem {
        parse::<GenerationRequest>(body.as_bytes()).unwrap_err()
    }

    #[test]
    fn malformed_json_differs_from_an_invalid_request() {
        for body in ["", "{", "{\"prompt\": \"x\", \"guidance\": NaN}", "{\"prompt\": \"x\"} {}"] {
            assert_eq!(refused(body).status, 400, "{body}");
        }
        for body in ["[]", "null", "{}", "{\"prompt\": 1}", "{\"prompt\": \"x\", \"steps\": -1}"] {
            assert_eq!(refused(body).status, 422, "{body}");
        }
    }

    #[test]
    fn the_wrong_field_is_named() {
        let problem = refused(r#"{"prompt": "x", "adapters": [{"name": "a", "strength": "much"}]}"#);
        assert_eq!(problem.errors[0].field, "adapters[0].strength");
        assert_eq!(
            problem.detail,
            "Invalid “adapters[0].strength”: invalid type: string \"much\", expected a number."
        );
        assert!(refused(r#"{"prompt": "x", "stepps": 1}"#).detail.contains("unknown field `stepps`"));
    }

    /// For each field of `whole`, at any depth: null must mean what its absence means.
    fn null_is_absence<T: DeserializeOwned + std::fmt::Debug>(whole: &serde_json::Value) {
        fn paths(value: &serde_json::Value, path: &str, found: &mut Vec<String>) {
            match value {
                serde_json::Value::Object(fields) => {
                    for (name, value) in fields {
                        let path = format!("{path}/{name}");
                        found.push(path.clone());
                        paths(value, &path, found);
                    }
                }
                serde_json::Value::Array(items) => {
                    items
                        .iter()
                        .enumerate()
                        .for_each(|(at, item)| paths(item, &format!("{path}/{at}"), found));
                }
                _ => {}
            }
        }
        let shown = |value: &serde_json::Value| {
            let read = parse::<T>(value.to_string().as_bytes());
            read.map(|read| format!("{read:?}")).map_err(|problem| problem.detail)
        };
        assert!(shown(whole).is_ok(), "{:?}", shown(whole));
        let mut all = Vec::new();
        paths(whole, "", &mut all);
        for path in all {
            let (mut null, mut absent) = (whole.clone(), whole.clone());
            *null.pointer_mut(&path).unwrap() = serde_json::Value::Null;
            let (parent, name) = path.rsplit_once('/').unwrap();
            absent.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
            assert_eq!(shown(&null), shown(&absent), "{path}");
        }
    }

    #[test]
    fn null_means_absent_for_every_field_of_every_request() {
        use adire_protocol::{
            DatasetChange, EvaluationRequest, GatePolicy, Intake, JobChange, NewDataset, QueueOwner,
            TrainingConfig, TrainingRequest, TrainingSettings, VersionChange,
        };
        use serde_json::json;

        use crate::{
            admin::api::datasets::{CopyRequest, ImportRequest},
            api::tokens::Prompts,
        };

        let hash = "ab".repeat(32);
        null_is_absence::<GenerationRequest>(&json!({
            "prompt": "x", "negative_prompt": "y", "seed": 1, "steps": 2, "guidance": 3.0, "sampler": "ddim",
            "rng": "cuda", "width": 64, "height": 64, "count": 2, "clip_skip": 2,
            "adapters": [{"name": "a", "strength": 0.5, "te_strength": 0.25, "in_prompt": true}],
            "init_image": hash, "mask": hash, "denoising_strength": 0.5, "keep_unmasked": false,
            "hires": {"scale": 2.0, "width": 64, "height": 64, "strength": 0.5, "steps": 3, "upscaler": "image"},
            "unknown": ["x"], "warnings": ["y"],
        }));
        let config = TrainingConfig { min_snr_gamma: Some(3.0), ..TrainingConfig::default() };
        null_is_absence::<TrainingRequest>(&json!({
            "name": "a", "dataset": "b", "config": config, "class_dataset": "c", "class_prompt": "d",
            "continue_from": "e@v1", "note": "f",
        }));
        null_is_absence::<NewDataset>(&json!({"name": "a", "trigger": "b", "caption": "c"}));
        null_is_absence::<TrainingSettings>(&json!({"yield_to_generations": false}));
        null_is_absence::<ImportRequest>(&json!({"folder": "/images"}));
        null_is_absence::<CopyRequest>(&json!({"name": "a"}));
        null_is_absence::<Prompts>(&json!({"prompt": "a", "negative_prompt": "b", "adapters": ["a@v1"]}));
        null_is_absence::<QueueOwner>(&json!({"network": "a", "visitor": "b"}));
        null_is_absence::<VersionChange>(&json!({"hidden": true, "downloads": false, "note": "a"}));
        null_is_absence::<JobChange>(&json!({"to": "front"}));
        null_is_absence::<Intake>(&json!({"paused": true}));
        null_is_absence::<EvaluationRequest>(&json!({
            "version": "a@v2", "against": "a@v1", "suite": "name = 'x'", "promote": true,
            "publish": "a/b", "rerun": "score",
        }));
        null_is_absence::<GatePolicy>(&json!({"toml": "confidence = 0.9"}));
        for change in [
            json!({"action": "describe", "name": "a", "trigger": "b", "caption": "c"}),
            json!({"action": "caption", "picture": "a", "caption": "b"}),
            json!({"action": "repeats", "picture": "a", "repeats": 2}),
            json!({"action": "prefix", "prefix": "a"}),
        ] {
            null_is_absence::<DatasetChange>(&change);
        }
    }

    #[test]
    fn a_seed_of_minus_one_is_none() {
        let read = |seed: &str| {
            parse::<GenerationRequest>(format!("{{\"prompt\": \"x\", \"seed\": {seed}}}").as_bytes())
        };
        assert_eq!(read("-1").unwrap().seed, None);
        assert!(read("-2").unwrap_err().detail.contains("-1 for a random one; got -2"));
    }
}
