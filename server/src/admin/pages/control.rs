//! The page of everybody's images, what its forms post, and the page of one image.

use adire_app::admin::{AdminPage, FormInput};
use adire_studio::{By, StudioError};
use axum::{
    Form,
    extract::{Query, State, rejection::FormRejection},
    http::request::Parts,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{answer, no_form};
use crate::{
    error::{Problem, ProblemKind},
    extract::{Segment, generation_id},
    state::AppState,
};

pub(crate) type Fields = Result<Form<Vec<(String, String)>>, FormRejection>;

/// What the address passes to a page.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct PageQuery {
    before: Option<i64>,
    done: Option<u32>,
}

pub(super) fn refused(error: &StudioError) -> (String, Option<axum::http::StatusCode>) {
    (error.to_string(), Some(ProblemKind::from(error.kind()).status()))
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
    form: Fields,
) -> Result<Response, Problem> {
    let Form(pairs) = form.map_err(no_form)?;
    let form = FormInput::from_pairs(pairs);
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
        Ok(()) => Ok(Redirect::to("/admin/images?done=1").into_response()),
        Err(error) => {
            let (flash, status) = refused(&error);
            let page = AdminPage::gallery(&state.studio, None, Some(flash)).await;
            Ok(answer(state, page, parts, status).await)
        }
    }
}
