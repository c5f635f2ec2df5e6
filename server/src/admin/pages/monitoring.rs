//! The monitoring page.

use adire_app::admin::AdminPage;
use adire_protocol::Period;
use axum::{
    extract::{Query, State},
    http::request::Parts,
    response::Response,
};
use serde::Deserialize;

use super::answer;
use crate::state::AppState;

/// Which figures are wanted. What is unknown means the default: an address may be old.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    period: Option<String>,
    version: Option<String>,
}

pub(crate) async fn show(
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
    parts: Parts,
) -> Response {
    let period = wanted.period.as_deref().and_then(Period::of).unwrap_or_default();
    let page = AdminPage::monitoring(&state.studio, period, wanted.version).await;
    answer(state, page, parts, None).await
}
