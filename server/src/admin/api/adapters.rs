//! Adapter files that the admin adds while the server runs.

use std::collections::BTreeMap;

use adire_protocol::{AdapterVersion, FieldError, ValidationError};
use adire_studio::{Mover, NewAdapter, Studio, StudioError};
use axum::{
    Json,
    extract::{Multipart, State, multipart::MultipartRejection},
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};

use crate::{
    admin::one_file::{self, FILE, Purpose, in_field},
    error::Problem,
};

/// Fields beside the file.
pub(crate) const FIELDS: [&str; 5] = ["name", "version", "trigger", "description", "strict"];

/// The form, for the description of the API.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only describes the form")]
pub(crate) struct AdapterForm {
    /// A safetensors file of kohya's scripts, LyCORIS, diffusers, PEFT, ComfyUI or cloneofsimo; at most 2147483648 bytes.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// Adapter name without version: at most 64 lower-case letters, digits, `-`, `_` and `.`.
    name: String,
    /// Version, from 1; the next number when absent.
    version: Option<u32>,
    /// Trigger word.
    trigger: Option<String>,
    /// What it teaches, one sentence.
    description: Option<String>,
    /// `true`: refuse a file that applies only in part, instead of warning.
    strict: Option<bool>,
}

/// Add an adapter file
///
/// A form with the file (`multipart/form-data`). It is loaded onto the model first, between two images, so the answer may
/// take a while. The new version can be used at once, and the ledger says who added it. The same file under the same name
/// and version (or without a version) gives the version that exists. `warning` of the answer says if a file applies only in
/// part.
#[utoipa::path(
    post,
    path = "/admin/api/adapters",
    tag = "control",
    request_body(content = AdapterForm, content_type = "multipart/form-data"),
    responses(
        (status = 201, description = "Added; `Location` is its URL", body = AdapterVersion,
            headers(("location" = String, description = "URL of the version"))),
        (status = 200, description = "The version has this file already", body = AdapterVersion,
            headers(("location" = String, description = "URL of the version"))),
        (status = 400, description = "The form was not received completely", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The version exists with another file, or was deleted", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The file is larger than 2147483648 bytes", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Not a multipart form", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No file, invalid fields, or a file that is not an adapter of the loaded model", body = Problem, content_type = "application/problem+json"),
        (status = 507, description = "The server's disk is full, or nearly so", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn add(
    State(studio): State<Studio>,
    headers: HeaderMap,
    form: Result<Multipart, MultipartRejection>,
) -> Result<impl IntoResponse, Problem> {
    let (version, is_new) = take(&studio, &headers, form, &mut BTreeMap::new()).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let location = [(header::LOCATION, format!("/api/v1/adapters/{}", version.id()))];
    Ok((status, location, Json(version)))
}

/// Adds the file of a form. `texts` gets what was typed, also where it is refused. Whether the version is new.
///
/// # Errors
/// The form cannot be read, or the file cannot be added.
pub(crate) async fn take(
    studio: &Studio,
    headers: &HeaderMap,
    form: Result<Multipart, MultipartRejection>,
    texts: &mut BTreeMap<String, String>,
) -> Result<(AdapterVersion, bool), Problem> {
    let form = one_file::open(Purpose::Adapter, headers, form)?;
    let file = one_file::read(studio, Purpose::Adapter, form, &FIELDS, texts).await?;
    let new = described(texts);
    let (file, new) = match (file, new) {
        (Some(file), Ok(new)) => (file, new),
        (file, new) => {
            let mut errors = new.err().unwrap_or_default();
            if file.is_none() {
                errors.insert(0, wrong(FILE, "Choose a .safetensors file.".to_owned()));
            }
            return Err(StudioError::Invalid(ValidationError(errors)).into());
        }
    };
    studio.add_uploaded_adapter(file, new, Mover::Admin).await.map_err(|error| match error {
        StudioError::AdapterExists { .. } => in_field("version", error),
        StudioError::Adapter(_) => in_field(FILE, error),
        other => other.into(),
    })
}

fn described(texts: &BTreeMap<String, String>) -> Result<NewAdapter, Vec<FieldError>> {
    let text = |name: &str| texts.get(name).map_or("", |text| text.trim());
    let shown = |name: &str| text(name).chars().take(40).collect::<String>();
    let mut errors = Vec::new();
    let version = Some(text("version")).filter(|text| !text.is_empty()).map(|text| {
        text.parse::<u32>().ok().filter(|version| *version > 0).unwrap_or_else(|| {
            let sentence = format!("Version must be a whole number from 1; got “{}”.", shown("version"));
            errors.push(wrong("version", sentence));
            0
        })
    });
    let strict = match text("strict") {
        "" | "false" => false,
        "true" => true,
        _ => {
            let sentence = format!("Strict must be true or false; got “{}”.", shown("strict"));
            errors.push(wrong("strict", sentence));
            false
        }
    };
    if text("name").is_empty() {
        errors.insert(0, wrong("name", "Enter a name.".to_owned()));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(NewAdapter {
        name: text("name").to_owned(),
        version,
        path: std::path::PathBuf::new(),
        description: text("description").to_owned(),
        trigger: text("trigger").to_owned(),
        strict,
    })
}

fn wrong(field: &str, message: String) -> FieldError {
    FieldError { field: field.to_owned(), message }
}
