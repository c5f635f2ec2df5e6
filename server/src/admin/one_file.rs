//! Forms with one file, `file`, and a few texts beside it (`multipart/form-data`).

use std::collections::BTreeMap;

use adire_studio::{ErrorKind, MAX_ADAPTER_BYTES, MAX_EMBEDDING_BYTES, Studio, StudioError, UploadedFile};
use axum::{
    extract::{
        Multipart,
        multipart::{Field, MultipartError, MultipartRejection},
    },
    http::{HeaderMap, StatusCode, header},
};
use futures::{Stream, StreamExt, TryStreamExt, stream};

use crate::{
    error::{Problem, ProblemKind},
    layers::body::MAX_BODY_BYTES,
};

/// Name of the field with the file.
pub(crate) const FILE: &str = "file";

/// What a file is for, which decides how large it may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Dataset,
    Adapter,
    Embedding,
}

impl Purpose {
    /// Largest body of a form with one such file, in bytes; `None` for forms with any number of them.
    pub(crate) const fn body_limit(self) -> Option<u64> {
        match self {
            Self::Dataset => None,
            Self::Adapter => Some(MAX_ADAPTER_BYTES + MAX_BODY_BYTES as u64),
            Self::Embedding => Some(MAX_EMBEDDING_BYTES + MAX_BODY_BYTES as u64),
        }
    }
}

/// The form of a request.
///
/// # Errors
/// The body is of another kind, or says of itself that it is too large: then none of it is read.
pub(crate) fn open(
    purpose: Purpose,
    headers: &HeaderMap,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Multipart, Problem> {
    let form = form.map_err(|_| {
        let sentence = "This address takes a file; send a form with it as multipart/form-data.";
        Problem::new(ProblemKind::MediaType, sentence)
    })?;
    let announced: Option<u64> =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    match (announced, purpose.body_limit()) {
        (Some(bytes), Some(most)) if bytes > most => Err(too_large(most)),
        _ => Ok(form),
    }
}

/// Reads a form to its end: the texts into `texts`, which keeps those that came before an error, and the file onto the
/// disk. `None`: no file was chosen.
///
/// # Errors
/// The form breaks off, has a field that is not among `names` or two files, or the file is too large or cannot be stored.
pub(crate) async fn read(
    studio: &Studio,
    purpose: Purpose,
    mut form: Multipart,
    names: &[&str],
    texts: &mut BTreeMap<String, String>,
) -> Result<Option<UploadedFile>, Problem> {
    let (mut file, mut left) = (None, MAX_BODY_BYTES);
    while let Some(mut field) = form.next_field().await.map_err(|error| broken(&error))? {
        let name = field.name().unwrap_or_default().to_owned();
        if name == FILE {
            match field.file_name().map(str::to_owned) {
                None => {
                    let sentence = "“file” came as text; send it as a file (curl -F file=@PATH).";
                    return Err(Problem::field(FILE, sentence));
                }
                // A file input that was left empty.
                Some(called) if called.is_empty() => {}
                Some(_) if file.is_some() => {
                    return Err(Problem::field(FILE, "The form has two files; send one at a time."));
                }
                Some(called) => file = Some(receive(studio, purpose, &called, field).await?),
            }
            continue;
        }
        if !names.contains(&name.as_str()) {
            let shown: String = name.chars().take(80).collect();
            let sentence = format!("Unknown field “{shown}”; expected {FILE}, {}.", names.join(", "));
            return Err(Problem::field(shown, sentence));
        }
        let mut text = Vec::new();
        while let Some(piece) = field.chunk().await.map_err(|error| broken(&error))? {
            // Texts have a limit of their own: the body's is for the file.
            left = left.checked_sub(piece.len()).ok_or_else(|| too_large(MAX_BODY_BYTES as u64))?;
            text.extend_from_slice(&piece);
        }
        texts.insert(name, String::from_utf8_lossy(&text).into_owned());
    }
    Ok(file)
}

/// A file of a form, on the disk.
///
/// # Errors
/// The form breaks off, or the file is too large or cannot be stored.
pub(crate) async fn receive(
    studio: &Studio,
    purpose: Purpose,
    name: &str,
    mut field: Field<'_>,
) -> Result<UploadedFile, Problem> {
    let mut form_error = None;
    let pieces = stream::poll_fn(|context| field.poll_next_unpin(context));
    // What breaks the form is not the file's fault.
    let pieces = pieces.map_err(|error| form_error.insert(error).body_text());
    let kept = keep(studio, purpose, name, pieces).await;
    if let Some(error) = form_error {
        return Err(broken(&error));
    }
    kept.map_err(|error| match error.kind() {
        ErrorKind::TooLarge => in_field(FILE, error),
        _ => error.into(),
    })
}

async fn keep<B: AsRef<[u8]>>(
    studio: &Studio,
    purpose: Purpose,
    name: &str,
    pieces: impl Stream<Item = Result<B, String>>,
) -> Result<UploadedFile, StudioError> {
    match purpose {
        Purpose::Dataset => studio.receive(name, pieces).await,
        Purpose::Adapter => studio.receive_adapter(name, pieces).await,
        Purpose::Embedding => studio.receive_embedding(name, pieces).await,
    }
}

/// An error of the studio, with the field that it is about.
pub(crate) fn in_field(field: &str, error: StudioError) -> Problem {
    let mut problem = Problem::from(error);
    if problem.errors.is_empty() {
        problem.errors = Problem::field(field, problem.detail.clone()).errors;
    }
    problem
}

fn too_large(most: u64) -> Problem {
    let size = if most < 1 << 20 { format!("{} KiB", most >> 10) } else { format!("{} MiB", most >> 20) };
    Problem::new(ProblemKind::TooLarge, format!("The form is larger than {size}, the limit of this address."))
}

/// Why a form could not be read to its end.
pub(crate) fn broken(error: &MultipartError) -> Problem {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(
            ProblemKind::TooLarge,
            "The form is larger than this address takes; send fewer or smaller files.",
        );
    }
    Problem::new(ProblemKind::Unreadable, format!("The form did not arrive whole: {}.", error.body_text()))
}
