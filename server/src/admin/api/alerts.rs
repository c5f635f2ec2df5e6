//! Admin endpoints of alerts.

use adire_protocol::{AlertSettings, Alerts, MuteRequest};
use adire_studio::Studio;
use axum::{Json, extract::State};

use crate::{
    error::Problem,
    extract::{JsonBody, Segment},
};

/// Read alerts
///
/// Settings, each rule with its present value, and the newest 50 alerts with the generations behind them and who was notified.
#[utoipa::path(
    get,
    path = "/admin/api/alerts",
    tag = "control",
    responses((status = 200, description = "Rules and alerts", body = Alerts))
)]
pub(crate) async fn read(State(studio): State<Studio>) -> Result<Json<Alerts>, Problem> {
    Ok(Json(studio.alerts().await?))
}

/// Set the rules of alerts
#[utoipa::path(
    put,
    path = "/admin/api/alerts",
    tag = "control",
    request_body = AlertSettings,
    responses(
        (status = 200, description = "Rules and alerts", body = Alerts),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Invalid settings", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn set(
    State(studio): State<Studio>,
    JsonBody(settings): JsonBody<AlertSettings>,
) -> Result<Json<Alerts>, Problem> {
    studio.set_alerts(settings).await?;
    read(State(studio)).await
}

/// Mute a rule
///
/// Until a time; without one, it is muted no longer. A muted rule opens and closes nothing.
#[utoipa::path(
    put,
    path = "/admin/api/alerts/{rule}/mute",
    tag = "control",
    params(("rule" = String, Path, description = "Name of the rule")),
    request_body = MuteRequest,
    responses(
        (status = 200, description = "Rules and alerts", body = Alerts),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Rule not found", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The time has passed", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn mute(
    State(studio): State<Studio>,
    Segment(rule): Segment,
    JsonBody(request): JsonBody<MuteRequest>,
) -> Result<Json<Alerts>, Problem> {
    studio.mute_alert(&rule, request).await?;
    read(State(studio)).await
}

/// Send a test message
///
/// To the webhook and the ntfy topic of the settings.
#[utoipa::path(
    post,
    path = "/admin/api/alerts/test",
    tag = "control",
    responses(
        (status = 200, description = "Rules and alerts; the message is queued", body = Alerts),
        (status = 409, description = "No address to send to is set", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn test(State(studio): State<Studio>) -> Result<Json<Alerts>, Problem> {
    studio.test_alert().await?;
    read(State(studio)).await
}
