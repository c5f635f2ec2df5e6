//! The pages of datasets, and what their forms post.

use adire_app::admin::{AdminPage, Filled, field_errors};
use adire_protocol::{DatasetChange, FieldError, NewDataset};
use adire_studio::{Studio, StudioError};
use axum::{
    Form, Router,
    extract::{
        DefaultBodyLimit, Multipart, Query, State, multipart::MultipartRejection, rejection::FormRejection,
    },
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use serde::Deserialize;

use super::{answer, no_form};
use crate::{
    api::admin::files,
    error::{Problem, ProblemKind},
    extract::Segment,
    layers::visitor::accepts_html,
    state::AppState,
};

/// A form with all captions of a large dataset.
const LARGEST_FORM: usize = 8 << 20;

pub(super) fn routes() -> Router<AppState> {
    let uploads = Router::new()
        .route("/admin/datasets/{id}/files", post(upload))
        .layer(DefaultBodyLimit::max(files::LARGEST));
    Router::new()
        .route("/admin/datasets", get(list).post(create))
        .route("/admin/datasets/{id}", get(show).post(change))
        .layer(DefaultBodyLimit::max(LARGEST_FORM))
        .merge(uploads)
}

async fn list(State(state): State<AppState>, parts: Parts) -> Response {
    let page = AdminPage::datasets(&state.studio, Filled::default()).await;
    answer(state, page, parts, None).await
}

async fn create(
    State(state): State<AppState>,
    parts: Parts,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(pairs) = form.map_err(no_form)?;
    let mut form = Filled::from_pairs(pairs);
    let new = described(&form);
    match state.studio.create_dataset(new).await {
        Ok(dataset) => Ok(Redirect::to(&format!("/admin/datasets/{}", dataset.id)).into_response()),
        Err(error) => {
            let status = ProblemKind::from(error.kind()).status();
            form.errors = field_errors(error);
            let page = AdminPage::datasets(&state.studio, form).await;
            Ok(answer(state, page, parts, Some(status)).await)
        }
    }
}

fn described(form: &Filled) -> NewDataset {
    let text = |name: &str| form.get(name).to_owned();
    NewDataset { name: text("name"), trigger: text("trigger"), caption: text("caption") }
}

/// What was just done: a word in the address, so that a reload does not do it again.
#[derive(Debug, Default, Deserialize)]
struct Done {
    #[serde(default)]
    done: String,
}

fn sentence(done: &str) -> Option<String> {
    Some(
        match done {
            "captions" => "The captions are saved.",
            "describe" => "Saved.",
            "prefix" => "The words are in front of every caption.",
            "replace" => "Replaced everywhere.",
            "remove" => "The picture is taken out.",
            "clear_remarks" => "The remarks are forgotten.",
            "copy" => {
                "This is the copy. It can be changed; the dataset that it was copied from stays as it is."
            }
            "files" => "The files are taken in.",
            _ => return None,
        }
        .to_owned(),
    )
}

async fn show(
    State(state): State<AppState>,
    Segment(id): Segment,
    Query(Done { done }): Query<Done>,
    parts: Parts,
) -> Response {
    let page = AdminPage::dataset(&state.studio, &id, sentence(&done), None).await;
    answer(state, page, parts, None).await
}

async fn change(
    State(state): State<AppState>,
    Segment(id): Segment,
    parts: Parts,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(pairs) = form.map_err(no_form)?;
    let form = Filled::from_pairs(pairs);
    match act(&state.studio, &id, &form).await {
        Ok((id, done)) => Ok(Redirect::to(&format!("/admin/datasets/{id}?done={done}")).into_response()),
        Err(error) => Ok(refuse(state, parts, &id, form, error).await),
    }
}

async fn refuse(state: AppState, parts: Parts, id: &str, mut form: Filled, error: StudioError) -> Response {
    let status = ProblemKind::from(error.kind()).status();
    form.errors = field_errors(error);
    let page = AdminPage::dataset(&state.studio, id, None, Some(form)).await;
    // Of a dataset that is not there, there is no page to show the error on.
    let status = page.problem().is_none().then_some(status);
    answer(state, page, parts, status).await
}

/// Does what a form of the page says; returns the dataset to go on to, and what was done.
async fn act(studio: &Studio, id: &str, form: &Filled) -> Result<(String, &'static str), StudioError> {
    let text = |name: &str| form.get(name).to_owned();
    if let Some(picture) = form.values.get("remove") {
        // What was typed into other captions is not lost with it.
        captions(studio, id, form).await?;
        studio.remove_from_dataset(id, picture).await?;
        return Ok((id.to_owned(), "remove"));
    }
    let (change, done) = match form.get("action") {
        "captions" => {
            captions(studio, id, form).await?;
            return Ok((id.to_owned(), "captions"));
        }
        "copy" => return Ok((studio.copy_dataset(id, None).await?.id, "copy")),
        "prefix" => (DatasetChange::Prefix { prefix: text("prefix") }, "prefix"),
        "replace" => (DatasetChange::Replace { find: text("find"), with: text("with") }, "replace"),
        "clear_remarks" => (DatasetChange::ClearRemarks, "clear_remarks"),
        _ => (DatasetChange::Describe(described(form)), "describe"),
    };
    studio.change_dataset(id, change).await?;
    Ok((id.to_owned(), done))
}

/// Saves the captions that differ.
async fn captions(studio: &Studio, id: &str, form: &Filled) -> Result<(), StudioError> {
    for picture in studio.dataset(id).await?.pictures {
        let Some(caption) = form.values.get(&format!("caption.{}", picture.hash)) else { continue };
        let caption = caption.split_whitespace().collect::<Vec<_>>().join(" ");
        if caption != picture.caption {
            studio.change_dataset(id, DatasetChange::Caption { picture: picture.hash, caption }).await?;
        }
    }
    Ok(())
}

/// Files of a plain form. The script sends them one by one to the API instead.
async fn upload(
    State(state): State<AppState>,
    Segment(id): Segment,
    parts: Parts,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Response, Problem> {
    let mut form = form.map_err(|error| {
        Problem::new(
            ProblemKind::MediaType,
            format!("This address takes a form with files: {}.", error.body_text()),
        )
    })?;
    let brought = match files::receive(&state.studio, &mut form).await {
        Ok(brought) => brought,
        Err(problem) if accepts_html(&parts.headers) => return Ok(told(state, parts, &id, problem).await),
        Err(problem) => return Err(problem),
    };
    match state.studio.add_to_dataset(&id, brought).await {
        Ok(_) => Ok(Redirect::to(&format!("/admin/datasets/{id}?done=files")).into_response()),
        Err(error) => Ok(refuse(state, parts, &id, Filled::default(), error).await),
    }
}

/// The page again, with what was wrong with the files.
async fn told(state: AppState, parts: Parts, id: &str, problem: Problem) -> Response {
    let errors = vec![FieldError { field: String::new(), message: problem.detail }];
    let form = Filled { errors, ..Filled::default() };
    let page = AdminPage::dataset(&state.studio, id, None, Some(form)).await;
    let status = StatusCode::from_u16(problem.status).ok().filter(|_| page.problem().is_none());
    answer(state, page, parts, status).await
}
