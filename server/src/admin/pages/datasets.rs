//! The pages of datasets, and what their forms post.

use std::path::Path;

use adire_app::admin::{AdminPage, FormInput, field_errors};
use adire_protocol::{DatasetChange, FieldError, MAX_REPEATS, NewDataset};
use adire_studio::{Studio, StudioError};
use axum::{
    extract::{Multipart, Query, State, multipart::MultipartRejection},
    http::{StatusCode, request::Parts},
    response::Response,
};

use super::{Done, Posted, answer, refuse, to};
use crate::{
    admin::api::files,
    error::{Problem, ProblemKind},
    extract::Segment,
    layers::visitor::accepts_html,
    state::AppState,
};

pub(crate) async fn list(
    State(state): State<AppState>,
    Query(Done { done }): Query<Done>,
    parts: Parts,
) -> Response {
    let page =
        AdminPage::datasets(&state.studio, done.as_deref().and_then(sentence), FormInput::default()).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn create(
    State(state): State<AppState>,
    parts: Parts,
    Posted(mut form): Posted,
) -> Result<Response, Problem> {
    let new = described(&form);
    match state.studio.create_dataset(new).await {
        Ok(dataset) => Ok(to(format!("/admin/datasets/{}", dataset.id))),
        Err(error) => {
            let kind = error.kind();
            form.errors = field_errors(error);
            let page = AdminPage::datasets(&state.studio, None, form).await;
            Ok(refuse(state, page, parts, kind).await)
        }
    }
}

fn described(form: &FormInput) -> NewDataset {
    let text = |name: &str| form.get(name).to_owned();
    NewDataset { name: text("name"), trigger: text("trigger"), caption: text("caption") }
}

fn sentence(done: &str) -> Option<String> {
    Some(
        match done {
            "captions" => "Captions saved.",
            "describe" => "Saved.",
            "prefix" => "Prefix added to every caption.",
            "replace" => "Replaced everywhere.",
            "remove" => "Image removed.",
            "clear_warnings" | "clear_remarks" => "Warnings dismissed.",
            "copy" => "Dataset duplicated. You can edit this copy; the original is unchanged.",
            "files" => "Files added.",
            "import" => "Images imported.",
            "deleted" => "Dataset deleted.",
            _ => return None,
        }
        .to_owned(),
    )
}

pub(crate) async fn show(
    State(state): State<AppState>,
    Segment(id): Segment,
    Query(Done { done }): Query<Done>,
    parts: Parts,
) -> Response {
    let page = AdminPage::dataset(&state.studio, &id, done.as_deref().and_then(sentence), None).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn change(
    State(state): State<AppState>,
    Segment(id): Segment,
    parts: Parts,
    Posted(form): Posted,
) -> Result<Response, Problem> {
    match act(&state.studio, &id, &form).await {
        Ok(onward) => Ok(to(format!("/admin/datasets{onward}"))),
        Err(error) => Ok(refused(state, parts, &id, form, error).await),
    }
}

async fn refused(
    state: AppState,
    parts: Parts,
    id: &str,
    mut form: FormInput,
    error: StudioError,
) -> Response {
    let kind = error.kind();
    form.errors = field_errors(error);
    let page = AdminPage::dataset(&state.studio, id, None, Some(form)).await;
    refuse(state, page, parts, kind).await
}

/// Does what a form of the page says; returns where to go on, below the list of datasets.
async fn act(studio: &Studio, id: &str, form: &FormInput) -> Result<String, StudioError> {
    let text = |name: &str| form.get(name).to_owned();
    if let Some(image) = form.values.get("remove") {
        // What was typed into other captions is not lost with it.
        images(studio, id, form).await?;
        studio.remove_from_dataset(id, image).await?;
        return Ok(format!("/{id}?done=remove"));
    }
    let action = form.get("action");
    match action {
        "captions" => images(studio, id, form).await?,
        "copy" => return Ok(format!("/{}?done=copy", studio.copy_dataset(id, None).await?.id)),
        "delete" => {
            studio.delete_dataset(id).await?;
            return Ok("?done=deleted".to_owned());
        }
        "import" => {
            studio.import_folder(id, Path::new(form.get("folder").trim())).await.map_err(at("folder"))?;
        }
        _ => {
            let change = match action {
                "prefix" => DatasetChange::Prefix { prefix: text("prefix") },
                "replace" => DatasetChange::Replace { find: text("find"), with: text("with") },
                "clear_warnings" | "clear_remarks" => DatasetChange::ClearWarnings,
                "describe" => DatasetChange::Describe(described(form)),
                _ => return Err(StudioError::invalid("action", "Unknown action.")),
            };
            studio.change_dataset(id, change).await?;
        }
    }
    Ok(format!("/{id}?done={action}"))
}

/// Puts what is wrong with an image or folder beside the field that named it.
fn at(field: &'static str) -> impl Fn(StudioError) -> StudioError {
    move |error| match error {
        StudioError::Image(message) => StudioError::invalid(field, message),
        other => other,
    }
}

/// Saves the captions and the repeats that differ.
async fn images(studio: &Studio, id: &str, form: &FormInput) -> Result<(), StudioError> {
    for image in studio.dataset(id).await?.images {
        if let Some(caption) = form.values.get(&format!("caption.{}", image.hash)) {
            let caption = caption.split_whitespace().collect::<Vec<_>>().join(" ");
            if caption != image.caption {
                let change = DatasetChange::Caption { image: image.hash.clone(), caption };
                studio.change_dataset(id, change).await?;
            }
        }
        if let Some(typed) = form.values.get(&format!("repeats.{}", image.hash)) {
            let Ok(repeats) = typed.trim().parse() else {
                let shown: String = typed.chars().take(20).collect();
                let range = format!("Repeats must be 1 to {MAX_REPEATS}; got “{shown}”.");
                return Err(StudioError::invalid(
                    "repeats",
                    format!("How often {} counts: {range}", image.name),
                ));
            };
            if repeats != image.repeats {
                let change = DatasetChange::Repeats { image: image.hash, repeats };
                studio.change_dataset(id, change).await?;
            }
        }
    }
    Ok(())
}

/// Files of a plain form. The script sends them one by one to the API instead.
pub(crate) async fn upload(
    State(state): State<AppState>,
    Segment(id): Segment,
    parts: Parts,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Response, Problem> {
    let mut form = form.map_err(|error| {
        Problem::new(
            ProblemKind::MediaType,
            format!("Expected a multipart form with files: {}.", error.body_text()),
        )
    })?;
    let uploaded = match files::receive(&state.studio, &mut form).await {
        Ok(uploaded) => uploaded,
        Err(problem) if accepts_html(&parts.headers) => {
            return Ok(upload_refused(state, parts, &id, problem).await);
        }
        Err(problem) => return Err(problem),
    };
    match state.studio.add_to_dataset(&id, uploaded).await {
        Ok(_) => Ok(to(format!("/admin/datasets/{id}?done=files"))),
        Err(error) => Ok(refused(state, parts, &id, FormInput::default(), error).await),
    }
}

/// The page again, with what was wrong with the files.
async fn upload_refused(state: AppState, parts: Parts, id: &str, problem: Problem) -> Response {
    let errors = vec![FieldError { field: String::new(), message: problem.detail }];
    let form = FormInput { errors, ..FormInput::default() };
    let page = AdminPage::dataset(&state.studio, id, None, Some(form)).await;
    let status = StatusCode::from_u16(problem.status).ok().filter(|_| page.problem().is_none());
    answer(state, page, parts, status).await
}
