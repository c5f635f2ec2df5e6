//! Admin endpoints of shadow rendering.

use adire_protocol::{ShadowRecord, ShadowRequest};
use adire_studio::{Mover, Studio};
use axum::{Json, extract::State};

use crate::{
    error::Problem,
    extract::{JsonBody, Segment},
};

/// Get a version's shadow
///
/// The one that is on, or the last one, with what it has found and its newest pairs.
#[utoipa::path(
    get,
    path = "/admin/api/adapters/{name}/shadow",
    tag = "registry",
    params(("name" = String, Path, description = "`name@vN`")),
    responses(
        (status = 200, description = "The shadow", body = ShadowRecord),
        (status = 404, description = "The version never had one", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The name is not that of a version", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<ShadowRecord>, Problem> {
    Ok(Json(studio.shadow(&id).await?))
}

/// Switch a version's shadow on
///
/// While the device is idle, the candidate renders every k-th generation of the version in production again, and both images
/// are scored. For a shadow that is on, k and the number of pairs change; its pairs stay.
#[utoipa::path(
    put,
    path = "/admin/api/adapters/{name}/shadow",
    tag = "registry",
    params(("name" = String, Path, description = "`name@vN`")),
    request_body = ShadowRequest,
    responses(
        (status = 200, description = "The shadow", body = ShadowRecord),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Version not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Nothing is in production, another version's shadow is on, there is no judge, or its stage, its file or the loaded model does not allow it", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn switch_on(
    State(studio): State<Studio>,
    Segment(id): Segment,
    JsonBody(request): JsonBody<ShadowRequest>,
) -> Result<Json<ShadowRecord>, Problem> {
    Ok(Json(studio.set_shadow(&id, request, Mover::Admin).await?))
}

/// Switch a version's shadow off
///
/// Its results stay.
#[utoipa::path(
    delete,
    path = "/admin/api/adapters/{name}/shadow",
    tag = "registry",
    params(("name" = String, Path, description = "`name@vN`")),
    responses(
        (status = 200, description = "The shadow, which has ended", body = ShadowRecord),
        (status = 404, description = "The version never had one", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is not on", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The name is not that of a version", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn switch_off(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<ShadowRecord>, Problem> {
    Ok(Json(studio.end_shadow(&id, Mover::Admin).await?))
}
