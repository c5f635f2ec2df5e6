//! The admin overview.

use adire_app::admin::AdminPage;
use axum::{Router, extract::State, http::request::Parts, response::Response, routing::get};

use super::answer;
use crate::state::AppState;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/admin", get(overview))
}

async fn overview(State(state): State<AppState>, parts: Parts) -> Response {
    let page = AdminPage::overview(&state.studio).await;
    answer(state, page, parts, None).await
}
