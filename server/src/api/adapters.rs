//! The adapter versions that requests may name.

use adire_protocol::AdapterVersion;
use adire_studio::Studio;
use axum::{Json, extract::State};

use crate::error::Problem;

/// Every adapter version
///
/// By name, the newest version of each first. Versions never change; a request names one as `name@vN`, or the
/// newest as `name`.
#[utoipa::path(
    get,
    path = "/api/v1/adapters",
    tag = "adapters",
    responses((status = 200, description = "All of them", body = Vec<AdapterVersion>))
)]
pub(crate) async fn list(State(studio): State<Studio>) -> Result<Json<Vec<AdapterVersion>>, Problem> {
    Ok(Json(studio.adapters().await?))
}
