//! The page of everybody's images, what its forms post, and the page of one image.

use adire_app::admin::AdminPage;
use adire_studio::By;
use axum::{
    extract::{Query, State},
    http::request::Parts,
    response::Response,
};
use serde::Deserialize;

use super::{Posted, answer, refuse, to};
use crate::{
    error::Problem,
    extract::{Segment, generation_id},
    state::AppState,
};

/// What the address passes to a page.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct PageQuery {
    before: Option<i64>,
    done: Option<u32>,
}

pub(crate) async fn images(
    State(state): State<AppState>,
    Query(query): Query<PageQuery>,
    parts: Parts,
) -> Response {
    let flash = query.done.map(|_| "Deleted for good.".to_owned());
    let page = AdminPage::gallery(&state.studio, query.before, flash).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn image(State(state): State<AppState>, Segment(hash): Segment, parts: Parts) -> Response {
    let page = AdminPage::image(&state.studio, &hash).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn change_images(
    State(state): State<AppState>,
    parts: Parts,
    Posted(form): Posted,
) -> Result<Response, Problem> {
    let done = match form.get("action") {
        "delete-image" => state.studio.delete_content(form.get("hash")).await.map(|_| ()),
        "delete-generation" => {
            state.studio.delete_generation(&generation_id(form.get("id"))?, By::Admin).await
        }
        "delete-visitor" => state.studio.delete_visitor(form.get("visitor")).await.map(|_| ()),
        _ => {
            let sentence = "The action must be delete-image, delete-generation or delete-visitor.";
            return Err(Problem::field("action", sentence));
        }
    };
    match done {
        Ok(()) => Ok(to("/admin/images?done=1")),
        Err(error) => {
            let page = AdminPage::gallery(&state.studio, None, Some(error.to_string())).await;
            Ok(refuse(state, page, parts, error.kind()).await)
        }
    }
}
