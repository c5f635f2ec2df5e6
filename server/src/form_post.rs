//! The studio form without JavaScript: fields and files in one multipart body, answered with
//! the address of a page.

use adire_app::{FormPost, INIT_IMAGE_FILE, MASK_FILE, UploadError, submit_form_post};
use adire_protocol::Upload;
use adire_studio::{Client, ErrorKind, ImageUse, Studio, StudioError};
use axum::{
    extract::{
        Multipart, State,
        multipart::{Field, MultipartError, MultipartRejection},
    },
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    error::{Problem, ProblemKind},
    extract::ClientOf,
    flash,
    layers::body,
};

/// Handles the form and redirects with 303.
pub(crate) async fn submit_form(
    State(studio): State<Studio>,
    ClientOf(client): ClientOf,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Response, Problem> {
    let multipart = form.map_err(|error| {
        Problem::new(ProblemKind::MediaType, format!("Expected a multipart form: {}.", error.body_text()))
    })?;
    let mut warnings = Vec::new();
    let form = match read(&studio, &client, multipart, &mut warnings).await {
        Ok(form) => form?,
        // Larger than both images may be together. What was typed is lost with it.
        Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return Ok(Redirect::to("/?post_error=large-init-image").into_response());
        }
        Err(error) => return Err(unreadable(&error)),
    };
    let mut response = Redirect::to(&submit_form_post(&studio, &client, form).await).into_response();
    flash::set(&mut response, &warnings);
    Ok(response)
}

/// `warnings`: about the images.
async fn read(
    studio: &Studio,
    client: &Client,
    mut multipart: Multipart,
    warnings: &mut Vec<String>,
) -> Result<Result<FormPost, Problem>, MultipartError> {
    let (mut form, mut typed, mut uploaded) = (FormPost::default(), 0, Vec::new());
    while let Some(field) = multipart.next_field().await? {
        let name = field.name().unwrap_or_default().to_owned();
        if [INIT_IMAGE_FILE, MASK_FILE].contains(&name.as_str()) {
            // Each is read at the server's cost.
            if uploaded.contains(&name) {
                let sentence = "A form can have one init image and one mask.";
                return Ok(Err(Problem::new(ProblemKind::Invalid, sentence)));
            }
            let used_as = if name == MASK_FILE { ImageUse::Mask } else { ImageUse::Colours };
            if let Some(uploaded) = image(studio, client, field, used_as).await? {
                form.image(
                    &name,
                    uploaded.map(|upload| {
                        warnings.extend(upload.warnings);
                        upload.hash
                    }),
                );
            }
            uploaded.push(name);
        } else {
            let text = field.bytes().await?;
            // Fields have a limit of their own: the body's is for images.
            typed += text.len();
            if typed <= body::MAX_BODY_BYTES {
                form.field(&name, String::from_utf8_lossy(&text).into_owned());
            }
        }
    }
    Ok(Ok(form))
}

/// Takes a file in as it comes; `None` where none was chosen.
async fn image(
    studio: &Studio,
    client: &Client,
    mut field: Field<'_>,
    used_as: ImageUse,
) -> Result<Option<Result<Upload, UploadError>>, MultipartError> {
    let first = loop {
        match field.chunk().await? {
            None => return Ok(None),
            Some(empty) if empty.is_empty() => {}
            Some(first) => break first,
        }
    };
    let mut broken = None;
    let rest = stream::poll_fn(|context| field.poll_next_unpin(context));
    // What went wrong with the form is not the image's fault.
    let rest = rest.map_err(|error| broken.insert(error).to_string());
    let uploaded = studio.upload(stream::iter([Ok(first)]).chain(rest), used_as, client).await;
    if let Some(error) = broken {
        return Err(error);
    }
    Ok(Some(match uploaded {
        Ok(upload) => Ok(upload),
        Err(error) if error.kind() == ErrorKind::TooLarge => Err(UploadError::Large),
        Err(error) if matches!(error.kind(), ErrorKind::TooMany | ErrorKind::Busy) => Err(UploadError::Busy),
        Err(error) => {
            log(&error);
            Err(UploadError::Unreadable)
        }
    }))
}

fn log(error: &StudioError) {
    if matches!(error.kind(), ErrorKind::Internal | ErrorKind::DiskFull) {
        tracing::error!(%error, "an image of a form could not be stored");
    }
}

fn unreadable(error: &MultipartError) -> Problem {
    Problem::new(
        ProblemKind::Unreadable,
        format!("The form was not received completely: {}.", error.body_text()),
    )
}
