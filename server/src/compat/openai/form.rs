//! Forms of edits and variations. What is nested comes as JSON in a text, or as the client of OpenAI flattens it:
//! `adapters[][name]`, `hires[scale]`.

use std::collections::BTreeMap;

use axum::extract::{
    FromRequest, Multipart, Request,
    multipart::{Field, MultipartError},
};
use serde_json::{Map, Value};

use super::request::Files;
use crate::error::{Problem, ProblemKind};

/// Fields that hold more than one value.
const NESTED: [&str; 2] = ["adapters", "hires"];

/// The texts and files of a form.
pub(super) async fn form(request: Request) -> Result<(Map<String, Value>, Files), Problem> {
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| {
        Problem::new(ProblemKind::MediaType, format!("Expected a multipart form: {}.", error.body_text()))
    })?;
    let (mut fields, mut files) = (Map::new(), Files::default());
    let (mut adapters, mut hires) = (BTreeMap::<String, Vec<Value>>::new(), Map::new());
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "image" | "image[]" => files.images.push(field.bytes().await.map_err(broken)?.to_vec()),
            "mask" => files.mask = Some(field.bytes().await.map_err(broken)?.to_vec()),
            nested if NESTED.contains(&nested) => {
                let text = text(field).await?;
                let value = serde_json::from_str(&text).map_err(|error| {
                    Problem::field(nested, format!("{nested} must be JSON, or {nested}[…] fields: {error}."))
                })?;
                fields.insert(name, value);
            }
            bracketed if bracketed.contains('[') => {
                let inner = |start: &str| {
                    let inner = bracketed.strip_prefix(start)?.strip_suffix(']')?;
                    Some(inner.to_owned()).filter(|inner| !inner.contains(['[', ']']))
                };
                match (inner("adapters[]["), inner("hires[")) {
                    (Some(inner), _) => {
                        let value = value(&inner, text(field).await?);
                        adapters.entry(inner).or_default().push(value);
                    }
                    (None, Some(inner)) => {
                        let value = value(&inner, text(field).await?);
                        hires.insert(inner, value);
                    }
                    (None, None) => return Err(unknown(bracketed)),
                }
            }
            _ => {
                fields.insert(name, text(field).await?.into());
            }
        }
    }
    if !adapters.is_empty() {
        fields.insert("adapters".to_owned(), joined(adapters)?);
    }
    if !hires.is_empty() {
        fields.insert("hires".to_owned(), hires.into());
    }
    Ok((fields, files))
}

async fn text(field: Field<'_>) -> Result<String, Problem> {
    field.text().await.map_err(broken)
}

fn broken(error: MultipartError) -> Problem {
    let sentence = format!("The form was not received completely: {}.", error.body_text());
    Problem::new(ProblemKind::Unreadable, sentence)
}

fn unknown(name: &str) -> Problem {
    let shown: String = name.chars().take(60).collect();
    let sentence = format!(
        "Unknown field {shown}. Fields with brackets are image[], adapters[][name], adapters[][strength] and hires[scale]; or send adapters and hires as JSON."
    );
    Problem::field(shown, sentence)
}

/// A value of a nested field; numbers and flags come as text.
fn value(inner: &str, text: String) -> Value {
    let plain = serde_json::from_str(text.trim()).ok();
    plain
        .filter(|it: &Value| inner != "name" && !it.is_object() && !it.is_array())
        .unwrap_or_else(|| text.into())
}

/// The adapters of a form: the first one has the first value of each field. Clients send all values of one field together.
fn joined(fields: BTreeMap<String, Vec<Value>>) -> Result<Value, Problem> {
    let count = fields.values().map(Vec::len).max().unwrap_or_default();
    if fields.values().any(|values| values.len() != count) {
        let sentence = "Each adapter needs the same adapters[][…] fields; or send adapters as JSON.";
        return Err(Problem::field("adapters", sentence));
    }
    let mut adapters = vec![Map::new(); count];
    for (name, values) in fields {
        for (adapter, value) in adapters.iter_mut().zip(values) {
            adapter.insert(name.clone(), value);
        }
    }
    Ok(adapters.into_iter().map(Value::Object).collect())
}
