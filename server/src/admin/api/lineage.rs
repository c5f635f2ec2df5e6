//! Admin endpoints of lineage.

use adire_protocol::Lineage;
use adire_studio::Studio;
use axum::{Json, extract::State};

use crate::{error::Problem, extract::Segment};

/// Get the lineage of a version
///
/// Its training run, dataset and base model, the versions before it, every decision about it, and the newest images made
/// with it, as nodes and edges. What was deleted stays as a node.
#[utoipa::path(
    get,
    path = "/admin/api/adapters/{name}/lineage",
    tag = "registry",
    params(("name" = String, Path, description = "`name@vN`")),
    responses(
        (status = 200, description = "The graph", body = Lineage),
        (status = 404, description = "Version not found", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not the name of a version", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn version(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<Lineage>, Problem> {
    Ok(Json(studio.version_lineage(&id).await?))
}

/// Get the lineage of an image
///
/// Its generation with adapters, init image and base model, and the origins of each. Samples of training runs, images of
/// evaluations, smoke images and uploads have one, too.
#[utoipa::path(
    get,
    path = "/admin/api/images/{hash}/lineage",
    tag = "registry",
    params(("hash" = String, Path, description = "sha256 of the file")),
    responses(
        (status = 200, description = "The graph", body = Lineage),
        (status = 404, description = "Image not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn image(
    State(studio): State<Studio>,
    Segment(hash): Segment,
) -> Result<Json<Lineage>, Problem> {
    Ok(Json(studio.image_lineage(&hash).await?))
}
