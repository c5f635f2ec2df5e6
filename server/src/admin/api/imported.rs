//! Admin endpoints of runs that were taken over from an MLflow server.

use adire_protocol::{ImportedRun, ImportedRunDetail};
use adire_studio::Studio;
use axum::{Json, extract::State};

use crate::{error::Problem, extract::Segment};

/// List imported runs
///
/// Runs that `adire mlflow import` took over, the newest first, at most 500.
#[utoipa::path(
    get,
    path = "/admin/api/imported-runs",
    tag = "training",
    responses((status = 200, description = "The runs", body = Vec<ImportedRun>))
)]
pub(crate) async fn list(State(studio): State<Studio>) -> Result<Json<Vec<ImportedRun>>, Problem> {
    Ok(Json(studio.imported_runs().await?))
}

/// Get an imported run
///
/// With every value of its metrics, and the versions that were registered with it.
#[utoipa::path(
    get,
    path = "/admin/api/imported-runs/{id}",
    tag = "training",
    params(("id" = String, Path, description = "Id of the run in MLflow")),
    responses(
        (status = 200, description = "The run", body = ImportedRunDetail),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<ImportedRunDetail>, Problem> {
    Ok(Json(studio.imported_run(&id).await?))
}
