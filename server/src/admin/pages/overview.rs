//! The admin overview.

use adire_app::admin::AdminPage;
use axum::{extract::State, http::request::Parts, response::Response};

use super::answer;
use crate::{
    extract::OriginOf,
    host_name::{is_loopback, name_of},
    layers::client::Arrival,
    state::AppState,
};

/// From an empty dataset to a public link.
pub(crate) async fn tonight(
    State(state): State<AppState>,
    OriginOf(origin): OriginOf,
    parts: Parts,
) -> Response {
    let host = parts.extensions.get::<Arrival>().and_then(|arrival| arrival.host.as_deref());
    let public = host.and_then(name_of).is_some_and(|name| !is_loopback(name));
    let page = AdminPage::tonight(&state.studio, origin, public).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn overview(State(state): State<AppState>, parts: Parts) -> Response {
    let page = AdminPage::overview(&state.studio).await;
    answer(state, page, parts, None).await
}
