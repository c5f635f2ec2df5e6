//! The wildcard lists that prompts may name.

use adire_protocol::Wildcards;
use adire_studio::Studio;
use axum::{Json, extract::State};

use crate::error::Problem;

/// List wildcards
///
/// Lists of the admin's, by name. `__name__` in a prompt becomes one value of the list, chosen by the image's seed; values may
/// be templates themselves.
#[utoipa::path(
    get,
    path = "/api/v1/wildcards",
    tag = "generations",
    responses((status = 200, description = "The lists by name", body = std::collections::BTreeMap<String, Vec<String>>))
)]
pub(crate) async fn list(State(studio): State<Studio>) -> Result<Json<Wildcards>, Problem> {
    Ok(Json(studio.wildcards().await?))
}
