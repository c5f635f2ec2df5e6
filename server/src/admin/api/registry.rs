//! Admin endpoints of the registry: stages, aliases, the ledger.

use adire_protocol::{
    AliasRequest, Ledger, LedgerEntry, LedgerMove, ProductionAt, PromotionRequest, RollbackRequest, Stage,
    StageRequest,
};
use adire_studio::{
    Mover, Studio,
    time::{milliseconds, now},
};
use axum::{Json, extract::State};
use serde::Deserialize;

use crate::{
    error::Problem,
    extract::{JsonBody, QueryOf, Segment, Segments},
};

/// Get the ledger of an adapter
///
/// Every change to its stages and aliases in order, whether the rows are as they were written, and where a rollback can
/// go.
#[utoipa::path(
    get,
    path = "/admin/api/adapters/{name}/ledger",
    tag = "registry",
    params(("name" = String, Path, description = "Adapter name without version")),
    responses(
        (status = 200, description = "The ledger", body = Ledger),
        (status = 404, description = "Adapter not found", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The name is not an adapter name, or has a version", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn ledger(
    State(studio): State<Studio>,
    Segment(name): Segment,
) -> Result<Json<Ledger>, Problem> {
    Ok(Json(studio.ledger(&name).await?))
}

/// A time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct At {
    at: Option<String>,
}

/// Get what was in production at a time
///
/// Without a time, what is in production now.
#[utoipa::path(
    get,
    path = "/admin/api/adapters/{name}/production",
    tag = "registry",
    params(
        ("name" = String, Path, description = "Adapter name without version"),
        ("at" = Option<String>, Query, description = "UTC, such as 2026-10-03T12:00:00Z"),
    ),
    responses(
        (status = 200, description = "The version and the move that put it there, if any", body = ProductionAt),
        (status = 400, description = "The query cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Adapter not found", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid time or name", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn production(
    State(studio): State<Studio>,
    Segment(name): Segment,
    QueryOf(At { at }): QueryOf<At>,
) -> Result<Json<ProductionAt>, Problem> {
    let at = match &at {
        None => now(),
        Some(text) => time_of(text).map_err(|sentence| Problem::field("at", sentence))?,
    };
    Ok(Json(studio.production_at(&name, at).await?))
}

/// Milliseconds since 1970 of a time in RFC 3339; the error is a sentence.
pub(crate) fn time_of(text: &str) -> Result<i64, String> {
    humantime::parse_rfc3339(text).map(milliseconds).map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        format!("“{shown}” is not a time in UTC; write 2026-10-03T12:00:00Z.")
    })
}

/// Promote a version
///
/// To production; the version that is there is archived. Needs a reason and a passing verdict, or `force`. The response
/// comes with the smoke image, or after some seconds without it.
#[utoipa::path(
    post,
    path = "/admin/api/adapters/{name}/promote",
    tag = "registry",
    params(("name" = String, Path, description = "`name@vN`")),
    request_body = PromotionRequest,
    responses(
        (status = 200, description = "The row of the ledger", body = LedgerEntry),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Version not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "No passing verdict, or its stage, visibility or file does not allow it", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn promote(
    State(studio): State<Studio>,
    Segment(id): Segment,
    JsonBody(request): JsonBody<PromotionRequest>,
) -> Result<Json<LedgerEntry>, Problem> {
    Ok(Json(studio.promote(&id, request, Mover::Admin).await?))
}

/// Roll production back
///
/// To the last production version before the present one, or to one of the last three; no verdict is needed.
#[utoipa::path(
    post,
    path = "/admin/api/adapters/{name}/rollback",
    tag = "registry",
    params(("name" = String, Path, description = "Adapter name without version")),
    request_body = RollbackRequest,
    responses(
        (status = 200, description = "The row of the ledger", body = LedgerEntry),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Version not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "No earlier version to return to", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn roll_back(
    State(studio): State<Studio>,
    Segment(name): Segment,
    JsonBody(request): JsonBody<RollbackRequest>,
) -> Result<Json<LedgerEntry>, Problem> {
    Ok(Json(studio.roll_back(&name, request, Mover::Admin).await?))
}

/// Reject a version
///
/// The version in production cannot be rejected.
#[utoipa::path(
    post,
    path = "/admin/api/adapters/{name}/reject",
    tag = "registry",
    params(("name" = String, Path, description = "`name@vN`")),
    request_body = StageRequest,
    responses(
        (status = 200, description = "The row of the ledger", body = LedgerMove),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Version not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Its stage does not allow it", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn reject(
    State(studio): State<Studio>,
    Segment(id): Segment,
    JsonBody(request): JsonBody<StageRequest>,
) -> Result<Json<LedgerMove>, Problem> {
    Ok(Json(studio.change_stage(&id, Stage::Rejected, &request.reason, Mover::Admin).await?))
}

/// Archive a version
///
/// The version in production leaves it, and nothing is in production then.
#[utoipa::path(
    post,
    path = "/admin/api/adapters/{name}/archive",
    tag = "registry",
    params(("name" = String, Path, description = "`name@vN`")),
    request_body = StageRequest,
    responses(
        (status = 200, description = "The row of the ledger", body = LedgerMove),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Version not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Its stage does not allow it", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn archive(
    State(studio): State<Studio>,
    Segment(id): Segment,
    JsonBody(request): JsonBody<StageRequest>,
) -> Result<Json<LedgerMove>, Problem> {
    Ok(Json(studio.change_stage(&id, Stage::Archived, &request.reason, Mover::Admin).await?))
}

/// Reopen a rejected or archived version
///
/// It is a candidate again.
#[utoipa::path(
    post,
    path = "/admin/api/adapters/{name}/reopen",
    tag = "registry",
    params(("name" = String, Path, description = "`name@vN`")),
    request_body = StageRequest,
    responses(
        (status = 200, description = "The row of the ledger", body = LedgerMove),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Version not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Its stage does not allow it", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn reopen(
    State(studio): State<Studio>,
    Segment(id): Segment,
    JsonBody(request): JsonBody<StageRequest>,
) -> Result<Json<LedgerMove>, Problem> {
    Ok(Json(studio.change_stage(&id, Stage::Candidate, &request.reason, Mover::Admin).await?))
}

/// Set a free alias
///
/// `production` is protected: promote a version instead.
#[utoipa::path(
    put,
    path = "/admin/api/adapters/{name}/aliases/{alias}",
    tag = "registry",
    params(
        ("name" = String, Path, description = "Adapter name without version"),
        ("alias" = String, Path, description = "Lower-case letters, digits, `-`, `_` and `.`"),
    ),
    request_body = AliasRequest,
    responses(
        (status = 200, description = "The row of the ledger", body = LedgerMove),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Version not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The alias is protected, or stands for that version already", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid fields", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn set_alias(
    State(studio): State<Studio>,
    Segments([name, alias]): Segments<2>,
    JsonBody(request): JsonBody<AliasRequest>,
) -> Result<Json<LedgerMove>, Problem> {
    let id = format!("{name}@v{}", request.version);
    Ok(Json(studio.set_alias(&id, &alias, &request.reason, Mover::Admin).await?))
}

/// Delete a free alias
#[utoipa::path(
    delete,
    path = "/admin/api/adapters/{name}/aliases/{alias}",
    tag = "registry",
    params(
        ("name" = String, Path, description = "Adapter name without version"),
        ("alias" = String, Path, description = "The alias"),
    ),
    responses(
        (status = 200, description = "The row of the ledger", body = LedgerMove),
        (status = 404, description = "Alias not found", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The alias is protected", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid name or alias", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete_alias(
    State(studio): State<Studio>,
    Segments([name, alias]): Segments<2>,
) -> Result<Json<LedgerMove>, Problem> {
    Ok(Json(studio.delete_alias(&name, &alias, "", Mover::Admin).await?))
}
