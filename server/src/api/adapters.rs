//! The adapter versions that requests may name.

use adire_protocol::{AdapterDetail, AdapterVersion};
use adire_studio::{Studio, StudioError};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};

use crate::{
    blob,
    error::{Problem, ProblemKind},
    extract::Segment,
};

/// List adapter versions
///
/// Sorted by name, newest version first, each with its stage and aliases. Versions are immutable; a request names one as
/// `name@vN`, by an alias as `name@alias`, or the newest as `name`. `name@production` is the version in production.
#[utoipa::path(
    get,
    path = "/api/v1/adapters",
    tag = "adapters",
    responses((status = 200, description = "The full list", body = Vec<AdapterVersion>))
)]
pub(crate) async fn list(State(studio): State<Studio>) -> Result<Json<Vec<AdapterVersion>>, Problem> {
    Ok(Json(studio.adapters().await?))
}

/// Get an adapter version with its receipt
///
/// The receipt lists which layers of the base model the file changes at strength 1 and by how much, which layers this
/// model lacks, and which tensors are unrecognised. It is computed once per file, between two images; while the model
/// is busy, the response omits it after a few seconds.
#[utoipa::path(
    get,
    path = "/api/v1/adapters/{name}",
    tag = "adapters",
    params(("name" = String, Path, description = "`name@vN`, `name@alias`, or `name` for the newest version")),
    responses(
        (status = 200, description = "The version", body = AdapterDetail),
        (status = 404, description = "Adapter not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(studio): State<Studio>,
    Segment(name): Segment,
) -> Result<Json<AdapterDetail>, Problem> {
    Ok(Json(studio.adapter(&name).await.map_err(not_found)?))
}

/// Download an adapter file
///
/// The file as it was added.
#[utoipa::path(
    get,
    path = "/api/v1/adapters/{name}/file",
    tag = "adapters",
    params(("name" = String, Path, description = "`name@vN`, `name@alias`, or `name` for the newest version")),
    responses(
        (status = 200, description = "The safetensors file; supports ranges", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 403, description = "Downloads are disabled", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Adapter not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn file(
    State(studio): State<Studio>,
    Segment(name): Segment,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let (version, file) = studio.adapter_file(&name).await.map_err(not_found)?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let saved = format!("attachment; filename=\"{}-v{}.safetensors\"", version.name, version.version);
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&saved).map_err(Problem::internal)?);
    blob::send(file, &request, headers).await
}

/// In an address, a name that nothing has is a thing that is not there.
fn not_found(error: StudioError) -> Problem {
    match error {
        StudioError::UnknownAdapter { .. } | StudioError::Invalid(_) => {
            Problem::new(ProblemKind::NotFound, error.to_string())
        }
        other => other.into(),
    }
}
