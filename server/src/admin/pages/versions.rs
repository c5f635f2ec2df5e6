//! The list of adapter versions, the page of each, and their forms.

use adire_app::admin::{AdminPage, FormInput};
use adire_protocol::{
    FieldError, PromotionRequest, PushRequest, RollbackRequest, ShadowRequest, Stage, ValidationError,
    VersionChange,
};
use adire_studio::{Mover, Studio, StudioError};
use axum::{
    extract::{Multipart, Query, State, multipart::MultipartRejection},
    http::{StatusCode, request::Parts},
    response::Response,
};

use super::{Posted, answer, put_back, refuse, to};
use crate::{
    admin::api::{adapters, registry::time_of},
    error::Problem,
    extract::Segment,
    layers::visitor::accepts_html,
    state::AppState,
};

pub(crate) async fn list(
    State(state): State<AppState>,
    Query(query): Query<Vec<(String, String)>>,
    parts: Parts,
) -> Response {
    let flash = added(&state.studio, &FormInput::from_pairs(query)).await;
    let page = AdminPage::versions(&state.studio, flash, FormInput::default()).await;
    answer(state, page, parts, None).await
}

/// What the form for a file did, as the address says that it leads to.
async fn added(studio: &Studio, query: &FormInput) -> Option<String> {
    let (done, id) = (query.get("done"), query.get("version"));
    // An address that somebody else wrote names no version.
    let version = studio.adapters().await.ok()?.into_iter().find(|version| version.id() == id)?;
    let warning = version.warning.map(|warning| format!(" {warning}")).unwrap_or_default();
    match done {
        "added" => Some(format!("{id} added. It can be chosen on the studio's page now.{warning}")),
        "known" => Some(format!("Nothing added: {id} is this file already.{warning}")),
        _ => None,
    }
}

/// The form for a file.
pub(crate) async fn add(
    State(state): State<AppState>,
    parts: Parts,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Response, Problem> {
    let mut typed = FormInput::default();
    match adapters::take(&state.studio, &parts.headers, form, &mut typed.values).await {
        Ok((version, is_new)) => {
            let done = if is_new { "added" } else { "known" };
            Ok(to(format!("/admin/versions?done={done}&version={}", version.id())))
        }
        Err(problem) if accepts_html(&parts.headers) => {
            let status = put_back(&mut typed, problem);
            let page = AdminPage::versions(&state.studio, None, typed).await;
            let status = status.filter(|_| page.problem().is_none());
            Ok(answer(state, page, parts, status).await)
        }
        Err(problem) => Err(problem),
    }
}

pub(crate) async fn show(
    State(state): State<AppState>,
    Segment(id): Segment,
    Query(query): Query<Vec<(String, String)>>,
    parts: Parts,
) -> Response {
    let query = FormInput::from_pairs(query);
    let (at, flash) = match query.get("at") {
        "" => (None, None),
        text => match page_time(text) {
            Ok(at) => (Some(at), None),
            Err(sentence) => (None, Some(sentence)),
        },
    };
    let status = flash.is_some().then_some(StatusCode::UNPROCESSABLE_ENTITY);
    let page = AdminPage::version(&state.studio, &id, at, flash).await;
    let status = status.filter(|_| page.problem().is_none());
    answer(state, page, parts, status).await
}

/// A time from an address of the page: as a browser's field gives it, without seconds and zone, or in full.
fn page_time(text: &str) -> Result<i64, String> {
    let text = text.trim();
    let seconds = if text.len() == "2026-10-03T12:00".len() { ":00" } else { "" };
    let zone = if text.ends_with('Z') { "" } else { "Z" };
    time_of(&format!("{text}{seconds}{zone}"))
}

/// A form of the list.
pub(crate) async fn change(
    State(state): State<AppState>,
    parts: Parts,
    Posted(form): Posted,
) -> Result<Response, Problem> {
    match act(&state.studio, form.get("version"), &form).await? {
        Ok(()) => Ok(to("/admin/versions")),
        Err(error) => {
            let page =
                AdminPage::versions(&state.studio, Some(error.to_string()), FormInput::default()).await;
            Ok(refuse(state, page, parts, error.kind()).await)
        }
    }
}

/// A form of a version's page.
pub(crate) async fn change_one(
    State(state): State<AppState>,
    Segment(id): Segment,
    parts: Parts,
    Posted(form): Posted,
) -> Result<Response, Problem> {
    match act(&state.studio, &id, &form).await? {
        Ok(()) => Ok(to(format!("/admin/versions/{id}"))),
        Err(error) => {
            let page = AdminPage::version(&state.studio, &id, None, Some(error.to_string())).await;
            Ok(refuse(state, page, parts, error.kind()).await)
        }
    }
}

/// Does what a form asks.
async fn act(studio: &Studio, id: &str, form: &FormInput) -> Result<Result<(), StudioError>, Problem> {
    let (reason, alias) = (form.get("reason"), form.get("alias"));
    let name = id.split('@').next().unwrap_or_default();
    let stage = async |to| studio.change_stage(id, to, reason, Mover::Admin).await.map(drop);
    let offer = async |hidden, downloads| {
        studio.change_version(id, VersionChange { hidden, downloads, note: None }).await.map(drop)
    };
    Ok(match form.get("action") {
        "promote" => {
            let request =
                PromotionRequest { reason: reason.to_owned(), force: !form.get("force").is_empty() };
            studio.promote(id, request, Mover::Admin).await.map(drop)
        }
        "rollback" => {
            let request = RollbackRequest { reason: reason.to_owned(), version: None };
            studio.roll_back(name, request, Mover::Admin).await.map(drop)
        }
        "reject" => stage(Stage::Rejected).await,
        "archive" => stage(Stage::Archived).await,
        "reopen" => stage(Stage::Candidate).await,
        "set-alias" => studio.set_alias(id, alias, reason, Mover::Admin).await.map(drop),
        "delete-alias" => studio.delete_alias(name, alias, reason, Mover::Admin).await.map(drop),
        "hide" => offer(Some(true), None).await,
        "show" => offer(Some(false), None).await,
        "keep-file" => offer(None, Some(false)).await,
        "give-file" => offer(None, Some(true)).await,
        "note" => {
            let change =
                VersionChange { note: Some(form.get("note").to_owned()), ..VersionChange::default() };
            studio.change_version(id, change).await.map(drop)
        }
        "shadow-on" => match shadow_request(form) {
            Ok(request) => studio.set_shadow(id, request, Mover::Admin).await.map(drop),
            Err(error) => Err(error),
        },
        "shadow-off" => studio.end_shadow(id, Mover::Admin).await.map(drop),
        "push" => {
            let text = |name: &str| Some(form.get(name).trim().to_owned()).filter(|text| !text.is_empty());
            let request = PushRequest {
                repository: form.get("repository").trim().to_owned(),
                private: form.get("public").is_empty(),
                license: text("license"),
                base_model: text("base_model"),
            };
            studio.push(id, request).await.map(drop)
        }
        "cancel-push" => studio.cancel_push(form.get("push")).await.map(drop),
        "delete" => studio.delete_version(id).await.map(drop),
        _ => {
            let sentence = "The action must be promote, rollback, reject, archive, reopen, set-alias, delete-alias, \
                            hide, show, keep-file, give-file, note, shadow-on, shadow-off, push, cancel-push or delete.";
            return Err(Problem::field("action", sentence));
        }
    })
}

fn shadow_request(form: &FormInput) -> Result<ShadowRequest, StudioError> {
    let number = |field: &str, label: &str| {
        let text = form.get(field).trim();
        let shown: String = text.chars().take(40).collect();
        text.parse().map_err(|_| FieldError {
            field: field.to_owned(),
            message: format!("{label} must be a whole number from 1 to 1000; got “{shown}”."),
        })
    };
    match (number("every", "Every"), number("max_pairs", "Pairs")) {
        (Ok(every), Ok(max_pairs)) => Ok(ShadowRequest { every, max_pairs }),
        (every, max_pairs) => {
            let errors = [every.err(), max_pairs.err()].into_iter().flatten().collect();
            Err(StudioError::Invalid(ValidationError(errors)))
        }
    }
}
