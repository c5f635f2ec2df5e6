//! Admin endpoints of blind votes.

use adire_protocol::{ComparisonRecord, ComparisonRequest};
use adire_studio::Studio;
use axum::{Json, extract::State};

use crate::{
    error::Problem,
    extract::{JsonBody, Segment},
};

/// List comparisons
///
/// Blind votes between versions, newest first.
#[utoipa::path(
    get,
    path = "/admin/api/comparisons",
    tag = "evaluations",
    responses((status = 200, description = "The comparisons", body = Vec<ComparisonRecord>))
)]
pub(crate) async fn list(State(studio): State<Studio>) -> Result<Json<Vec<ComparisonRecord>>, Problem> {
    Ok(Json(studio.comparisons().await?))
}

/// Start a comparison
///
/// On the images of a finished evaluation: the version against the one it was evaluated against, or the base model. `page` is
/// the link for voters. The one that there is, if there is one.
#[utoipa::path(
    post,
    path = "/admin/api/comparisons",
    tag = "evaluations",
    request_body = ComparisonRequest,
    responses(
        (status = 200, description = "The comparison", body = ComparisonRecord),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Evaluation not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The evaluation has no verdict, or too few pairs of images that differ", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    State(studio): State<Studio>,
    JsonBody(request): JsonBody<ComparisonRequest>,
) -> Result<Json<ComparisonRecord>, Problem> {
    Ok(Json(studio.compare(&request.evaluation).await?))
}

/// End a comparison
///
/// No more votes are taken; those there are stay.
#[utoipa::path(
    delete,
    path = "/admin/api/comparisons/{id}",
    tag = "evaluations",
    params(("id" = String, Path, description = "Id of the comparison, a UUID")),
    responses(
        (status = 200, description = "The comparison", body = ComparisonRecord),
        (status = 404, description = "Comparison not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn close(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<ComparisonRecord>, Problem> {
    Ok(Json(studio.close_comparison(&id).await?))
}
