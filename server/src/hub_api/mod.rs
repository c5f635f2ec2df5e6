//! The Hugging Face Hub's download API for this server's adapters, so that its clients load them with `HF_ENDPOINT`.
//! A repository is an adapter; its revisions are `main` (the version in production, else the newest), `vN`, aliases and
//! commits. Hidden, rejected and deleted versions do not exist here.

mod answers;

use std::sync::Arc;

use adire_protocol::{AdapterVersion, PRODUCTION, Stage};
use adire_studio::{Studio, StudioError};
use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{
    card::Card,
    exports::{self, Exported, Exports},
    state::AppState,
};
use answers::{Refusal, list, record, send_file, send_text};

/// The card's file.
const README: &str = "README.md";

/// A version as a repository at a commit.
struct Repository {
    name: String,
    version: AdapterVersion,
    commit: String,
    card: String,
    files: Vec<Exported>,
}

impl Repository {
    async fn of(state: &AppState, version: AdapterVersion) -> Result<Self, Refusal> {
        let exports: &Arc<Exports> = &state.exports;
        let files = exports.files(&state.studio, &version.id()).await.map_err(Refusal::from)?;
        let purpose = |file: &Exported| match file.name.as_str() {
            exports::DIFFUSERS => "for diffusers",
            _ => "for other programs (kohya's format)",
        };
        let mut card = Card::of(&version, &version.name, &state.studio.model().name);
        card.files = files.iter().map(|file| (file.name.clone(), purpose(file))).collect();
        let card = card.markdown();
        let commit = exports::commit(&version.id(), &files, &card);
        Ok(Self { name: version.name.clone(), version, commit, card, files })
    }
}

/// Versions of an adapter that this server gives out, the newest first.
async fn versions(studio: &Studio, name: &str) -> Result<Vec<AdapterVersion>, Refusal> {
    let all = studio.adapters().await.map_err(Refusal::from)?;
    let given = all.into_iter().filter(|version| version.name == name && version.stage != Stage::Rejected);
    let given: Vec<AdapterVersion> = given.collect();
    if given.is_empty() { Err(Refusal::repository(name)) } else { Ok(given) }
}

/// The repository at a revision.
async fn at(state: &AppState, name: &str, revision: &str) -> Result<Repository, Refusal> {
    let versions = versions(&state.studio, name).await?;
    let has = |version: &AdapterVersion, alias: &str| version.aliases.iter().any(|known| known == alias);
    let named =
        versions.iter().find(|version| revision == format!("v{}", version.version) || has(version, revision));
    let main = || versions.iter().find(|version| has(version, PRODUCTION)).or(versions.first());
    let found = if revision == "main" { main() } else { named };
    if let Some(version) = found {
        return Repository::of(state, version.clone()).await;
    }
    if revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        for version in versions {
            // One whose file is lost has no commit; another one may be meant.
            if let Ok(repository) = Repository::of(state, version).await
                && repository.commit == revision
            {
                return Ok(repository);
            }
        }
    }
    Err(Refusal::revision(name, revision))
}

/// `GET /api/models/{name}`.
pub(crate) async fn model(
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    Ok(record(&at(&state, &name, "main").await?))
}

/// `GET /api/models/{name}/revision/{revision}`.
pub(crate) async fn revision(
    State(state): State<AppState>,
    Path((name, revision)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    Ok(record(&at(&state, &name, &revision).await?))
}

/// `GET /api/models/{name}/tree/{revision}`. It is flat.
pub(crate) async fn tree(
    State(state): State<AppState>,
    Path((name, revision)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    Ok(list(&at(&state, &name, &revision).await?))
}

/// `GET /api/models/{name}/refs`.
pub(crate) async fn refs(
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let main = at(&state, &name, "main").await?;
    let mut tags = Vec::new();
    for version in versions(&state.studio, &name).await? {
        let names = version.aliases.clone();
        let Ok(repository) = Repository::of(&state, version).await else { continue };
        let number = format!("v{}", repository.version.version);
        for tag in names.into_iter().chain([number]) {
            tags.push(json!({
                "name": tag, "ref": format!("refs/tags/{tag}"), "targetCommit": repository.commit
            }));
        }
    }
    let branch = json!({ "name": "main", "ref": "refs/heads/main", "targetCommit": main.commit });
    Ok(Json(json!({ "branches": [branch], "converts": [], "tags": tags })).into_response())
}

/// `GET` and `HEAD /{name}/resolve/{revision}/{file}`.
pub(crate) async fn resolve(
    State(state): State<AppState>,
    Path((name, revision, file)): Path<(String, String, String)>,
    request: HeaderMap,
) -> Result<Response, Refusal> {
    let repository = at(&state, &name, &revision).await?;
    let mut headers = HeaderMap::new();
    let commit = HeaderValue::from_str(&repository.commit).map_err(Refusal::internal)?;
    headers.insert("x-repo-commit", commit);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if file == README {
        return send_text(repository.card, &request, headers);
    }
    let found = repository.files.into_iter().find(|known| known.name == file);
    let Some(found) = found else {
        let mut response = Refusal::entry(&name, &file).into_response();
        response.headers_mut().extend(headers);
        return Ok(response);
    };
    send_file(&found, &request, headers).await
}

impl From<StudioError> for Refusal {
    fn from(error: StudioError) -> Self {
        let status = match &error {
            StudioError::NotAllowed(_) => StatusCode::FORBIDDEN,
            StudioError::UnknownAdapter { .. } | StudioError::NotFound { .. } => StatusCode::NOT_FOUND,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(%error, "an adapter could not be given out");
            return Self::new(status, None, "Internal error. See the server log.".to_owned());
        }
        let code = if status == StatusCode::FORBIDDEN { "DisabledRepo" } else { "RepoNotFound" };
        Self::new(status, Some(code), error.to_string())
    }
}
