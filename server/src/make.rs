//! What the studio's form sends where no script takes it over: fields and files in one multipart body, answered with
//! the address of a page.

use adire_app::{MASK_FILE, PICTURE_FILE, PlainForm, Refused, make_plainly};
use adire_studio::{ErrorKind, Studio, StudioError};
use axum::{
    Router,
    extract::{
        DefaultBodyLimit, Multipart, State,
        multipart::{Field, MultipartError, MultipartRejection},
    },
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::post,
};

use crate::{
    api::uploads,
    error::{Problem, ProblemKind},
    extract::ClientOf,
    layers::body,
    state::AppState,
};

/// The form's address, and room for its two pictures.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/make", post(make))
        .layer(DefaultBodyLimit::max(2 * uploads::LARGEST + body::LARGEST))
}

/// Takes everything in, then says where to go on: with GET, never posting again.
async fn make(
    State(studio): State<Studio>,
    ClientOf(client): ClientOf,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Response, Problem> {
    let multipart = form.map_err(|error| {
        Problem::new(ProblemKind::MediaType, format!("This address takes a form: {}.", error.body_text()))
    })?;
    let form = match read(&studio, multipart).await {
        Ok(form) => form,
        // Larger than both pictures may be together. What was typed is lost with it.
        Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return Ok(Redirect::to("/?tried=large-picture").into_response());
        }
        Err(error) => return Err(unreadable(&error)),
    };
    Ok(Redirect::to(&make_plainly(&studio, &client, form).await).into_response())
}

async fn read(studio: &Studio, mut multipart: Multipart) -> Result<PlainForm, MultipartError> {
    let (mut form, mut typed) = (PlainForm::default(), 0);
    while let Some(field) = multipart.next_field().await? {
        let name = field.name().unwrap_or_default().to_owned();
        if [PICTURE_FILE, MASK_FILE].contains(&name.as_str()) {
            if let Some(uploaded) = picture(studio, field).await? {
                form.picture(&name, uploaded);
            }
        } else {
            let text = field.bytes().await?;
            // Fields have a limit of their own: the body's is for pictures.
            typed += text.len();
            if typed <= body::LARGEST {
                form.field(&name, String::from_utf8_lossy(&text).into_owned());
            }
        }
    }
    Ok(form)
}

/// Takes a file in; `None` where none was chosen.
async fn picture(
    studio: &Studio,
    field: Field<'_>,
) -> Result<Option<Result<String, Refused>>, MultipartError> {
    let bytes = field.bytes().await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.len() > uploads::LARGEST {
        return Ok(Some(Err(Refused::Large)));
    }
    Ok(Some(match studio.upload(bytes.into()).await {
        Ok(upload) => Ok(upload.hash),
        Err(error) => {
            log(&error);
            Err(Refused::Unreadable)
        }
    }))
}

fn log(error: &StudioError) {
    if matches!(error.kind(), ErrorKind::Internal | ErrorKind::DiskFull) {
        tracing::error!(%error, "a picture of a form could not be kept");
    }
}

fn unreadable(error: &MultipartError) -> Problem {
    Problem::new(ProblemKind::Unreadable, format!("The form did not arrive whole: {}.", error.body_text()))
}
