//! The pages of reported images and of the model's own suite, and what their forms post.

use adire_app::admin::{AdminPage, field_errors};
use axum::{
    extract::{Query, State},
    http::request::Parts,
    response::Response,
};

use super::{Done, Posted, answer, refuse, to};
use crate::{error::Problem, state::AppState};

/// What was done, as a sentence; addresses cannot put other words here.
fn sentence(done: Option<&str>) -> Option<String> {
    let sentence = match done? {
        "dismiss" => "Report dismissed.",
        "add" => "Prompt added to the suite.",
        "delete-image" => "Image deleted for good.",
        "save" => "Suite saved.",
        "built-in" => "The built-in suite is back.",
        _ => return None,
    };
    Some(sentence.to_owned())
}

pub(crate) async fn list(State(state): State<AppState>, Query(query): Query<Done>, parts: Parts) -> Response {
    let page = AdminPage::flags(&state.studio, sentence(query.done.as_deref())).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn change(
    State(state): State<AppState>,
    parts: Parts,
    Posted(form): Posted,
) -> Result<Response, Problem> {
    let studio = &state.studio;
    let action = form.get("action");
    let done = match action {
        "dismiss" => studio.dismiss_flag(form.get("id")).await,
        "add" => studio.add_flag_to_suite(form.get("id")).await,
        "delete-image" => studio.delete_content(form.get("hash")).await.map(drop),
        _ => return Err(Problem::field("action", "The action must be dismiss, add or delete-image.")),
    };
    match done {
        Ok(()) => Ok(to(format!("/admin/flags?done={action}"))),
        Err(error) => {
            let page = AdminPage::flags(studio, Some(error.to_string())).await;
            Ok(refuse(state, page, parts, error.kind()).await)
        }
    }
}

pub(crate) async fn suite(
    State(state): State<AppState>,
    Query(query): Query<Done>,
    parts: Parts,
) -> Response {
    let page = AdminPage::suite(&state.studio, None, sentence(query.done.as_deref())).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn set_suite(
    State(state): State<AppState>,
    parts: Parts,
    Posted(mut form): Posted,
) -> Result<Response, Problem> {
    let action = form.get("action").to_owned();
    let text = match action.as_str() {
        // Empty text would bring back the built-in suite; here it is a mistake.
        "save" if form.get("suite").trim().is_empty() => "#".to_owned(),
        "save" => form.get("suite").to_owned(),
        "built-in" => String::new(),
        _ => return Err(Problem::field("action", "The action must be save or built-in.")),
    };
    match state.studio.set_suite(&text).await {
        Ok(()) => Ok(to(format!("/admin/suite?done={action}"))),
        Err(error) => {
            let kind = error.kind();
            form.errors = field_errors(error);
            let page = AdminPage::suite(&state.studio, Some(form), None).await;
            Ok(refuse(state, page, parts, kind).await)
        }
    }
}
