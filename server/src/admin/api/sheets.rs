//! Admin endpoints of sheets.

use adire_protocol::{SheetDetail, SheetRecord, SheetRequest};
use adire_studio::Studio;
use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    error::Problem,
    extract::{JsonBody, Segment},
    sheet_png,
};

/// List sheets
///
/// Grids of generations that differ in two or three settings, newest first, at most 100.
#[utoipa::path(
    get,
    path = "/admin/api/sheets",
    tag = "evaluations",
    responses((status = 200, description = "The sheets", body = Vec<SheetRecord>))
)]
pub(crate) async fn list(State(studio): State<Studio>) -> Result<Json<Vec<SheetRecord>>, Problem> {
    Ok(Json(studio.sheets().await?))
}

/// Create a sheet
///
/// Every cell is checked at once and then generated like any other image, a few at a time. All cells have the same seed,
/// unless that is an axis.
#[utoipa::path(
    post,
    path = "/admin/api/sheets",
    tag = "evaluations",
    request_body = SheetRequest,
    responses(
        (status = 202, description = "The sheet", body = SheetRecord, headers(("location" = String, description = "Its address"))),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "An axis, a value or a cell is not valid", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    State(studio): State<Studio>,
    JsonBody(request): JsonBody<SheetRequest>,
) -> Result<Response, Problem> {
    let sheet = studio.create_sheet(request).await?;
    let location = format!("/admin/api/sheets/{}", sheet.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(sheet)).into_response())
}

/// Get a sheet
///
/// With its cells; each has its settings and, once it is done, its image.
#[utoipa::path(
    get,
    path = "/admin/api/sheets/{id}",
    tag = "evaluations",
    params(("id" = String, Path, description = "Id of the sheet, a UUID")),
    responses(
        (status = 200, description = "The sheet", body = SheetDetail),
        (status = 404, description = "Sheet not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<SheetDetail>, Problem> {
    Ok(Json(studio.sheet(&id).await?))
}

/// Cancel a sheet
///
/// Cells that are not generated yet are left out.
#[utoipa::path(
    post,
    path = "/admin/api/sheets/{id}/cancel",
    tag = "evaluations",
    params(("id" = String, Path, description = "Id of the sheet, a UUID")),
    responses(
        (status = 200, description = "The sheet", body = SheetRecord),
        (status = 404, description = "Sheet not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn cancel(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<Json<SheetRecord>, Problem> {
    Ok(Json(studio.cancel_sheet(&id).await?))
}

/// Delete a sheet
///
/// Its images stay.
#[utoipa::path(
    delete,
    path = "/admin/api/sheets/{id}",
    tag = "evaluations",
    params(("id" = String, Path, description = "Id of the sheet, a UUID")),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "Sheet not found", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete(
    State(studio): State<Studio>,
    Segment(id): Segment,
) -> Result<StatusCode, Problem> {
    studio.delete_sheet(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A sheet as one PNG file, with the values of its axes.
pub(crate) async fn png(State(studio): State<Studio>, Segment(id): Segment) -> Result<Response, Problem> {
    let bytes = sheet_png::draw(&studio, &id).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/png")),
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
    ];
    Ok((headers, bytes).into_response())
}
