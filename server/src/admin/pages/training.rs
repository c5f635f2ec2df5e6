//! The pages of trainings, and what their forms post.

use adire_app::admin::{AdminPage, FormInput, field_errors, training_request};
use adire_protocol::{
    GenerationRequest, SheetAxis, SheetRecord, SheetRequest, SheetSetting, TrainingSettings, ValidationError,
};
use adire_studio::{Studio, StudioError};
use axum::{
    extract::{Query, State},
    http::request::Parts,
    response::Response,
};
use serde::Deserialize;

use super::{Posted, answer, live_part, refuse, to};
use crate::{
    error::Problem,
    extract::{self, Segment},
    state::AppState,
};

pub(crate) async fn list(State(state): State<AppState>, parts: Parts) -> Response {
    let page = AdminPage::trainings(&state.studio).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn form(
    State(state): State<AppState>,
    Query(query): Query<Vec<(String, String)>>,
    parts: Parts,
) -> Response {
    let page = AdminPage::new_training(&state.studio, FormInput::from_pairs(query)).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn start(
    State(state): State<AppState>,
    parts: Parts,
    Posted(mut form): Posted,
) -> Result<Response, Problem> {
    let started = match training_request(&form) {
        Ok(request) => state.studio.train(request).await,
        Err(errors) => Err(StudioError::Invalid(ValidationError(errors))),
    };
    match started {
        Ok(run) => Ok(to(format!("/admin/training/{}", run.id))),
        Err(error) => {
            let kind = error.kind();
            form.errors = field_errors(error);
            let page = AdminPage::invalid_training(&state.studio, form).await;
            Ok(refuse(state, page, parts, kind).await)
        }
    }
}

pub(crate) async fn compare(
    State(state): State<AppState>,
    Query(query): Query<Vec<(String, String)>>,
    parts: Parts,
) -> Response {
    let ids: Vec<_> =
        query.into_iter().filter(|(name, _)| name == "run" || name == "job").map(|(_, id)| id).collect();
    let page = AdminPage::comparison(&state.studio, &ids).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn imported(State(state): State<AppState>, parts: Parts) -> Response {
    let page = AdminPage::imported_runs(&state.studio).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn imported_run(
    State(state): State<AppState>,
    Segment(id): Segment,
    parts: Parts,
) -> Response {
    let page = AdminPage::imported_run(&state.studio, &id).await;
    answer(state, page, parts, None).await
}

pub(crate) async fn settings(
    State(state): State<AppState>,
    parts: Parts,
    Posted(form): Posted,
) -> Result<Response, Problem> {
    // The second: the form of a page that was loaded before the name changed.
    let pauses =
        ["yield_to_generations", "pause_while_people_wait"].iter().any(|name| !form.get(name).is_empty());
    match state.studio.set_training_settings(TrainingSettings { yield_to_generations: pauses }).await {
        Ok(_) => Ok(to("/admin/training")),
        Err(error) => Ok(answer(state, AdminPage::failed(&error), parts, None).await),
    }
}

pub(crate) async fn show(State(state): State<AppState>, Segment(id): Segment, parts: Parts) -> Response {
    let page = AdminPage::training(&state.studio, &id, None).await;
    answer(state, page, parts, None).await
}

/// The part of the page that moves.
pub(crate) async fn live(State(state): State<AppState>, Segment(id): Segment, parts: Parts) -> Response {
    let page = AdminPage::training(&state.studio, &id, None).await;
    live_part(state, page, parts).await
}

#[derive(Debug, Deserialize)]
pub(crate) struct Action {
    action: String,
    /// Of a checkpoint.
    #[serde(default)]
    step: Option<u32>,
}

/// Most checkpoints and prompts of a sheet; more would keep the run waiting, because images go first.
const SHEET_STEPS: usize = 6;
const SHEET_PROMPTS: usize = 2;

pub(crate) async fn act(
    State(state): State<AppState>,
    Segment(id): Segment,
    parts: Parts,
    extract::Posted(Action { action, step }): extract::Posted<Action>,
) -> Result<Response, Problem> {
    let done = match action.as_str() {
        "keep" => {
            let step = step.ok_or_else(|| Problem::field("step", "The step must be a number."))?;
            return Ok(match state.studio.keep_training_step(&id, step).await {
                Ok(version) => to(format!("/admin/versions/{}", version.id())),
                Err(error) => refused(state, parts, &id, &error).await,
            });
        }
        "sheet" => {
            return Ok(match sheet(&state.studio, &id).await {
                Ok(sheet) => to(format!("/admin/sheets/{}", sheet.id)),
                Err(error) => refused(state, parts, &id, &error).await,
            });
        }
        "pause" => state.studio.pause_training(&id).await,
        "resume" => state.studio.resume_training(&id).await,
        "cancel" => state.studio.cancel_training(&id).await,
        _ => {
            return Err(Problem::field("action", "The action must be pause, resume, cancel, keep or sheet."));
        }
    };
    match done {
        Ok(job) => Ok(to(format!("/admin/training/{}", job.id))),
        Err(error) => Ok(refused(state, parts, &id, &error).await),
    }
}

/// Starts a sheet of a run's checkpoints, which fills in as they are saved.
async fn sheet(studio: &Studio, id: &str) -> Result<SheetRecord, StudioError> {
    let run = studio.training(id).await?.run;
    let steps = run.config.saved_steps(SHEET_STEPS).iter().map(ToString::to_string).collect();
    let strengths = ["0.6", "0.8", "1"].map(str::to_owned).to_vec();
    let mut axes = vec![
        SheetAxis { setting: SheetSetting::Checkpoint, values: steps },
        SheetAxis { setting: SheetSetting::Strength, values: strengths },
    ];
    let mut prompts = run.config.sample_prompts;
    prompts.dedup();
    prompts.truncate(SHEET_PROMPTS);
    let mut base = GenerationRequest::default();
    if prompts.len() > 1 {
        axes.push(SheetAxis { setting: SheetSetting::Prompt, values: prompts });
    } else if let Some(prompt) = prompts.pop() {
        base.prompt = prompt;
    } else {
        let trigger = match studio.dataset(&run.dataset).await {
            Ok(dataset) => dataset.trigger,
            // One whose dataset was deleted has no trigger.
            Err(StudioError::NotFound { .. }) => String::new(),
            Err(error) => return Err(error),
        };
        base.prompt = if trigger.is_empty() { run.name.clone() } else { trigger };
    }
    let title = format!("Checkpoints of {}", run.name);
    studio.create_sheet(SheetRequest { title, base, axes, run: Some(run.id) }).await
}

/// The page as it stands, and why nothing was done.
async fn refused(state: AppState, parts: Parts, id: &str, error: &StudioError) -> Response {
    let page = AdminPage::training(&state.studio, id, Some(error.to_string())).await;
    refuse(state, page, parts, error.kind()).await
}
