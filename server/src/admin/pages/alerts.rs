//! The page of alerts, and what its forms post.

use adire_app::admin::{AdminPage, FormInput};
use adire_protocol::{AlertSettings, MuteRequest};
use adire_studio::StudioError;
use axum::{
    Form,
    extract::State,
    http::request::Parts,
    response::{IntoResponse, Redirect, Response},
};

use super::{
    answer,
    control::{Fields, refused},
    no_form,
};
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
    form: Fields,
) -> Result<Response, Problem> {
    let Form(pairs) = form.map_err(no_form)?;
    let mut form = FormInput::from_pairs(pairs);
    let studio = &state.studio;
    let done = match form.get("action") {
        "save" => studio.set_alerts(AlertSettings { toml: form.get("toml").replace("\r\n", "\n") }).await,
        "test" => studio.test_alert().await,
        "mute" => {
            let hours: i64 = form.get("hours").parse().unwrap_or_default();
            if !HOURS.contains(&hours) {
                return Err(Problem::field("hours", "Hours must be 1, 8, 24 or 168."));
            }
            let until = Some(crate::time::now() + hours * 3_600_000);
            studio.mute_alert(form.get("rule"), MuteRequest { until }).await
        }
        "unmute" => studio.mute_alert(form.get("rule"), MuteRequest { until: None }).await,
        _ => return Err(Problem::field("action", "The action must be save, test, mute or unmute.")),
    };
    match done {
        Ok(()) => Ok(Redirect::to(PAGE).into_response()),
        Err(StudioError::Invalid(invalid)) if form.get("action") == "save" => {
            let status = refused(&StudioError::Invalid(invalid.clone())).1;
            form.errors = invalid.0;
            let page = AdminPage::alerts(studio, Some(form), None).await;
            Ok(answer(state, page, parts, status).await)
        }
        Err(error) => {
            let (flash, status) = refused(&error);
            let page = AdminPage::alerts(studio, None, Some(flash)).await;
            Ok(answer(state, page, parts, status).await)
        }
    }
}
