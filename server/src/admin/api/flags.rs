//! Admin endpoints of reported images and of the model's own suite.

use adire_protocol::{FlagRecord, SuiteText};
use adire_studio::Studio;
use axum::{Json, extract::State, http::StatusCode};

use crate::{
    error::Problem,
    extract::{JsonBody, Segment},
};

/// List open reports
///
/// Images that visitors have reported, oldest first, at most 200.
#[utoipa::path(
    get,
    path = "/admin/api/flags",
    tag = "images",
    responses((status = 200, description = "The reports", body = Vec<FlagRecord>))
)]
pub(crate) async fn list(State(studio): State<Studio>) -> Result<Json<Vec<FlagRecord>>, Problem> {
    Ok(Json(studio.flags().await?))
}

/// Dismiss a report
#[utoipa::path(
    delete,
    path = "/admin/api/flags/{id}",
    tag = "images",
    params(("id" = String, Path, description = "Id of the report, a UUID")),
    responses(
        (status = 204, description = "Dismissed"),
        (status = 404, description = "No such open report", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn dismiss(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<StatusCode, Problem> {
    studio.dismiss_flag(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Add a reported prompt to the suite
///
/// To the model's own suite, with `{trigger}` in place of trigger words and without `<lora:…>` tags. Ends the report.
#[utoipa::path(
    post,
    path = "/admin/api/flags/{id}/suite",
    tag = "images",
    params(("id" = String, Path, description = "Id of the report, a UUID")),
    responses(
        (status = 204, description = "Added"),
        (status = 404, description = "No such open report", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The suite has the prompt, or cannot hold it", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn add_to_suite(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<StatusCode, Problem> {
    studio.add_flag_to_suite(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get the model's own suite
#[utoipa::path(
    get,
    path = "/admin/api/suite",
    tag = "evaluations",
    responses((status = 200, description = "Prompts and seeds of evaluations that name no suite", body = SuiteText))
)]
pub(crate) async fn suite(State(studio): State<Studio>) -> Result<Json<SuiteText>, Problem> {
    Ok(Json(SuiteText { toml: studio.suite().await?.0 }))
}

/// Replace the model's own suite
///
/// Empty text brings back the built-in one.
#[utoipa::path(
    put,
    path = "/admin/api/suite",
    tag = "evaluations",
    request_body = SuiteText,
    responses(
        (status = 200, description = "The suite", body = SuiteText),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The text is not a suite", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn set_suite(
    State(studio): State<Studio>,
    JsonBody(new): JsonBody<SuiteText>,
) -> Result<Json<SuiteText>, Problem> {
    studio.set_suite(&new.toml).await?;
    suite(State(studio)).await
}
