//! Admin endpoints of the queue of all jobs: its order, and whether it takes more.

use adire_protocol::{Intake, JobChange, JobQueue};
use adire_studio::Studio;
use axum::{Json, extract::State};

use crate::{
    error::Problem,
    extract::{JsonBody, Segment},
};

/// List all jobs
///
/// Running and queued generations, evaluations, training runs and pushes, those first that run first, with their owners,
/// expected times and what they wait for.
#[utoipa::path(
    get,
    path = "/admin/api/jobs",
    tag = "control",
    responses((status = 200, description = "The full list", body = JobQueue))
)]
pub(crate) async fn list(State(studio): State<Studio>) -> Result<Json<JobQueue>, Problem> {
    Ok(Json(studio.jobs().await?))
}

/// Cancel any job
///
/// At once while it is queued, within one step or unit while it runs.
#[utoipa::path(
    delete,
    path = "/admin/api/jobs/{id}",
    tag = "control",
    params(("id" = String, Path, description = "Id of the job, a UUID")),
    responses(
        (status = 200, description = "The updated list", body = JobQueue),
        (status = 404, description = "Job not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The job has ended; a generation stays as it is", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<JobQueue>, Problem> {
    studio.cancel_job(&id).await?;
    list(State(studio)).await
}

/// Move a queued job
///
/// Among those of its kind, such as generations among generations.
#[utoipa::path(
    patch,
    path = "/admin/api/jobs/{id}",
    tag = "control",
    params(("id" = String, Path, description = "Id of the job, a UUID")),
    request_body = JobChange,
    responses(
        (status = 200, description = "The updated list", body = JobQueue),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Job not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The job is not queued", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn change(
    State(studio): State<Studio>,
    Segment(id): Segment,
    JsonBody(change): JsonBody<JobChange>,
) -> Result<Json<JobQueue>, Problem> {
    studio.move_job(&id, change.to).await?;
    list(State(studio)).await
}

/// Pause or resume new jobs
///
/// While paused, new generations, training runs, evaluations and pushes are refused with 503; what is queued still runs.
/// Persists across restarts.
#[utoipa::path(
    put,
    path = "/admin/api/intake",
    tag = "control",
    request_body = Intake,
    responses(
        (status = 200, description = "The new setting", body = Intake),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn set_intake(
    State(studio): State<Studio>,
    JsonBody(intake): JsonBody<Intake>,
) -> Result<Json<Intake>, Problem> {
    Ok(Json(studio.set_intake(intake).await?))
}
