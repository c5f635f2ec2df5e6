//! The page of alerts, and what its forms post.

use adire_app::admin::{AdminPage, field_errors};
use adire_protocol::{AlertSettings, MuteRequest};
use adire_studio::StudioError;
use axum::{extract::State, http::request::Parts, response::Response};

use super::{Posted, answer, refuse, to};
use crate::{error::Problem, state::AppState};

/// Where the page is.
const PAGE: &str = "/admin/monitoring/alerts";
/// Hours that a form may mute for.
const HOURS: [i64; 4] = [1, 8, 24, 168];

pub(crate) async fn show(State(state): State<AppState>, parts: Parts) -> Response {
    let page = AdminPage::alerts(&state.studio, None, None).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn change(
    State(state): State<AppState>,
    parts: Parts,
    Posted(mut form): Posted,
) -> Result<Response, Problem> {
    let studio = &state.studio;
    let done = match form.get("action") {
        "save" => studio.set_alerts(AlertSettings { toml: form.get("toml").replace("\r\n", "\n") }).await,
        "test" => studio.test_alert().await,
        "mute" => {
            let hours: i64 = form.get("hours").parse().unwrap_or_default();
            if !HOURS.contains(&hours) {
                return Err(Problem::field("hours", "Hours must be 1, 8, 24 or 168."));
            }
            let until = Some(adire_studio::time::now() + hours * 3_600_000);
            studio.mute_alert(form.get("rule"), MuteRequest { until }).await
        }
        "unmute" => studio.mute_alert(form.get("rule"), MuteRequest { until: None }).await,
        _ => return Err(Problem::field("action", "The action must be save, test, mute or unmute.")),
    };
    match done {
        Ok(()) => Ok(to(PAGE)),
        Err(error @ StudioError::Invalid(_)) if form.get("action") == "save" => {
            let kind = error.kind();
            form.errors = field_errors(error);
            let page = AdminPage::alerts(studio, Some(form), None).await;
            Ok(refuse(state, page, parts, kind).await)
        }
        Err(error) => {
            let page = AdminPage::alerts(studio, None, Some(error.to_string())).await;
            Ok(refuse(state, page, parts, error.kind()).await)
        }
    }
}
