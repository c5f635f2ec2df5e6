//! The OpenAPI document, generated from the handlers.

use adire_protocol::{
    Limits, RENAMED, Renamed,
    fields::{FIELDS, Field, Value as Default},
};
use axum::{Extension, body::Bytes, http::header, response::IntoResponse};
use serde_json::{Value, json};
use utoipa::OpenApi;

/// The document's header.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Adire",
        description = "Images from prompts by Stable Diffusion and LoRA adapters. Every error is \
                       `application/problem+json` with a `detail` that a person understands."
    ),
    tags(
        (name = "generations", description = "Create, follow and cancel generations"),
        (name = "images", description = "Generated images and their parameters"),
        (name = "adapters", description = "LoRA adapters that a request can apply"),
        (name = "datasets", description = "Admin: captioned images to train on"),
        (name = "registry", description = "Admin: stages and aliases of adapter versions, and their ledger"),
        (name = "training", description = "Admin: training runs"),
        (name = "evaluations", description = "Admin: evaluations of adapter versions, and the gate"),
        (name = "server", description = "What this server offers"),
    )
)]
pub(crate) struct Description;

/// The finished document as JSON.
#[derive(Clone, Debug)]
pub(crate) struct Document(pub(crate) Bytes);

/// Completes the request's parameters by what the table of fields says of them.
pub(crate) fn describe_fields(document: &mut Value) {
    for field in &FIELDS {
        let (schema, key) = schema_of(field);
        let property = document.pointer_mut(&format!("/components/schemas/{schema}/properties/{key}"));
        let Some(property) = property.and_then(Value::as_object_mut) else { continue };
        property.insert("description".to_owned(), field.help.sentence().into());
        let range = (field.range)(&Limits::default());
        // −1 is a seed too.
        if range.is_bounded() && field.name != "seed" {
            let min = if range.above { "exclusiveMinimum" } else { "minimum" };
            property.insert(min.to_owned(), number(range.min));
            property.insert("maximum".to_owned(), number(range.max));
        }
        let default = match field.fixed_default() {
            Default::None => continue,
            Default::Whole(value) => value.into(),
            Default::Number(value) => number(value),
            Default::Flag(value) => value.into(),
            Default::Name(value) => value.into(),
        };
        property.insert("default".to_owned(), default);
    }
}

/// Adds the old names of renamed keys.
pub(crate) fn describe_old_names(document: &mut Value) {
    for Renamed { schema, now, before } in &RENAMED {
        let properties = document.pointer_mut(&format!("/components/schemas/{schema}/properties"));
        if let Some(properties) = properties.and_then(Value::as_object_mut) {
            let description = format!("The old name of `{now}`.");
            properties.insert((*before).to_owned(), json!({"deprecated": true, "description": description}));
        }
    }
}

/// The schema and the property of a parameter.
fn schema_of(field: &Field) -> (&'static str, &'static str) {
    match field.name.strip_prefix("hires.") {
        Some(key) => ("HiresRequest", key),
        None => ("GenerationRequest", field.name),
    }
}

/// Whole numbers without a fraction.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 { (value as i64).into() } else { value.into() }
}

/// Get this OpenAPI document
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "server",
    responses((status = 200, description = "OpenAPI 3.1", body = Value))
)]
pub(crate) async fn document(Extension(Document(json)): Extension<Document>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], json)
}
