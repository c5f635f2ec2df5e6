//! Answers in the Hub's forms.

use axum::{
    Json,
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio_stream::StreamExt;

use super::{README, Repository};
use crate::{
    exports::{Exported, git_blob},
    part,
};

/// Bytes that are read from a file at a time.
const PIECE: usize = 1 << 18;

/// An error as the Hub's clients read it: headers with its code and a sentence.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: Option<&'static str>,
    message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: Option<&'static str>, message: String) -> Self {
        Self { status, code, message }
    }

    pub(super) fn repository(name: &str) -> Self {
        let message = format!("Adapter {} not found.", shown(name));
        Self::new(StatusCode::NOT_FOUND, Some("RepoNotFound"), message)
    }

    pub(super) fn revision(name: &str, revision: &str) -> Self {
        let message = format!(
            "Adapter {} has no revision {}; use main, a version such as v1, an alias or a commit.",
            shown(name),
            shown(revision)
        );
        Self::new(StatusCode::NOT_FOUND, Some("RevisionNotFound"), message)
    }

    pub(super) fn entry(name: &str, file: &str) -> Self {
        let message = format!("Adapter {} has no file {}.", shown(name), shown(file));
        Self::new(StatusCode::NOT_FOUND, Some("EntryNotFound"), message)
    }

    pub(super) fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "a file of an adapter could not be sent");
        let message = "Internal error. See the server log.".to_owned();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, None, message)
    }
}

/// Part of an address, short and printable in a header.
fn shown(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "error": self.message }))).into_response();
        let headers = response.headers_mut();
        if let Some(code) = self.code {
            headers.insert("x-error-code", HeaderValue::from_static(code));
        }
        if let Ok(message) = HeaderValue::from_str(&self.message) {
            headers.insert("x-error-message", message);
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

/// Entries of the repository, the card first.
fn entries(repository: &Repository) -> Vec<Value> {
    let card = repository.card.as_bytes();
    let card = json!({ "type": "file", "path": README, "oid": git_blob(card), "size": card.len() });
    let file = |file: &Exported| {
        let pointer = format!(
            "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n",
            file.known.sha256, file.known.bytes
        );
        json!({
            "type": "file", "path": file.name, "oid": git_blob(pointer.as_bytes()), "size": file.known.bytes,
            "lfs": { "oid": file.known.sha256, "size": file.known.bytes, "pointerSize": pointer.len() },
        })
    };
    [card].into_iter().chain(repository.files.iter().map(file)).collect()
}

/// The record of a model.
pub(super) fn record(repository: &Repository) -> Response {
    let Repository { name, version, commit, files, .. } = repository;
    let siblings = files.iter().map(|file| file.name.as_str()).chain([README]);
    let siblings: Vec<Value> = siblings.map(|file| json!({ "rfilename": file })).collect();
    let made = time(version.created_at);
    let record = json!({
        "_id": &commit[..24], "id": name, "modelId": name, "sha": commit, "private": false, "gated": false,
        "disabled": false, "downloads": 0, "likes": 0, "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "tags": ["diffusers", "lora", "stable-diffusion", "text-to-image", format!("v{}", version.version)],
        "createdAt": made, "lastModified": made, "siblings": siblings,
    });
    with_commit(Json(record).into_response(), commit)
}

/// Its files.
pub(super) fn list(repository: &Repository) -> Response {
    with_commit(Json(entries(repository)).into_response(), &repository.commit)
}

fn with_commit(mut response: Response, commit: &str) -> Response {
    if let Ok(commit) = HeaderValue::from_str(commit) {
        response.headers_mut().insert("x-repo-commit", commit);
    }
    response
}

/// Milliseconds since 1970 as the Hub writes times.
fn time(ms: i64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms.max(0).cast_unsigned());
    humantime::format_rfc3339_millis(at).to_string()
}

/// The card: all of it, or the one range that the client names.
pub(super) fn send_text(
    card: String,
    request: &HeaderMap,
    mut headers: HeaderMap,
) -> Result<Response, Refusal> {
    let etag = format!("\"{}\"", git_blob(card.as_bytes()));
    let etag = HeaderValue::from_str(&etag).map_err(Refusal::internal)?;
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let size = card.len() as u64;
    let part = part::named(request, &etag, size, &mut headers).map_err(Refusal::internal)?;
    headers.insert(header::ETAG, etag);
    let Some((status, range)) = part else {
        return Ok((StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response());
    };
    let start = usize::try_from(range.start).map_err(Refusal::internal)?;
    let end = usize::try_from(range.end).map_err(Refusal::internal)?;
    let body = Bytes::from(card).slice(start..end);
    Ok((status, headers, body).into_response())
}

/// A file: all of it, or the one range that the client names.
pub(super) async fn send_file(
    file: &Exported,
    request: &HeaderMap,
    mut headers: HeaderMap,
) -> Result<Response, Refusal> {
    let size = file.known.bytes;
    let etag = HeaderValue::from_str(&format!("\"{}\"", file.known.sha256)).map_err(Refusal::internal)?;
    let part = part::named(request, &etag, size, &mut headers).map_err(Refusal::internal)?;
    headers.insert(header::ETAG, etag.clone());
    headers.insert("x-linked-etag", etag);
    headers.insert("x-linked-size", size.into());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let saved = format!("attachment; filename=\"{}\"", file.name);
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&saved).map_err(Refusal::internal)?);
    let Some((status, range)) = part else {
        return Ok((StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response());
    };
    let mut opened = tokio::fs::File::open(&file.path).await.map_err(Refusal::internal)?;
    opened.seek(SeekFrom::Start(range.start)).await.map_err(Refusal::internal)?;
    // The path is held for as long as the file is read.
    let held = file.path.clone();
    let pieces = pieces(opened.take(range.end - range.start)).map(move |piece| {
        let _held = &held;
        piece
    });
    Ok((status, headers, Body::from_stream(pieces)).into_response())
}

/// What a reader has, piece by piece.
fn pieces(
    reader: tokio::io::Take<tokio::fs::File>,
) -> impl tokio_stream::Stream<Item = std::io::Result<Vec<u8>>> + Send {
    Box::pin(futures::stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        let mut piece = vec![0; PIECE];
        match reader.read(&mut piece).await {
            Ok(0) => None,
            Ok(read) => {
                piece.truncate(read);
                Some((Ok(piece), Some(reader)))
            }
            Err(error) => Some((Err(error), None)),
        }
    }))
}
