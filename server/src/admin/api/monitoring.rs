//! Admin endpoint of the figures of generations.

use adire_protocol::{Monitoring, Period};
use adire_studio::Studio;
use axum::{Json, extract::State};
use serde::Deserialize;

use crate::{error::Problem, extract::QueryOf};

/// Which figures are wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    #[serde(default)]
    period: Period,
    version: Option<String>,
}

/// Read figures of generations
///
/// Generations by outcome, seconds and waits by percentile, failures by cause, adapter switches, common prompts, memory and
/// uptime. `version` limits `total`, `causes` and `series` to generations with exactly these adapters, as `versions` lists
/// them.
#[utoipa::path(
    get,
    path = "/admin/api/monitoring",
    tag = "control",
    params(
        ("period" = Option<Period>, Query, description = "24h, 7d, 30d or all; 24h when absent"),
        ("version" = Option<String>, Query, description = "`name@vN`, several joined with ` + `; empty: without adapters"),
    ),
    responses(
        (status = 200, description = "The figures", body = Monitoring),
        (status = 400, description = "Unknown period", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(studio): State<Studio>,
    QueryOf(Wanted { period, version }): QueryOf<Wanted>,
) -> Result<Json<Monitoring>, Problem> {
    Ok(Json(studio.monitoring(period, version).await?))
}
