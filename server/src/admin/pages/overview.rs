//! The admin overview.

use adire_app::admin::AdminPage;
use axum::{extract::State, http::request::Parts, response::Response};

use super::answer;
use crate::state::AppState;

pub(crate) async fn overview(State(state): State<AppState>, parts: Parts) -> Response {
    let page = AdminPage::overview(&state.studio).await;
    answer(state, page, parts, None).await
}
