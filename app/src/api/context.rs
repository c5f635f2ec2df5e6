//! What server functions find around them, and how refusals reach a browser. Server only.

use adire_protocol::FieldError;
use adire_studio::{Client, ErrorKind, Studio, StudioError};
use axum::http::{HeaderValue, StatusCode, header, request::Parts};
use leptos::prelude::use_context;
use leptos_axum::ResponseOptions;

use super::AppError;

/// The status that the server's API gives to an error; the server puts it into the context.
#[derive(Clone, Copy)]
pub struct StatusOf(pub fn(ErrorKind) -> StatusCode);

/// The studio that the server put into the context.
pub(super) fn studio() -> Result<Studio, AppError> {
    use_context().ok_or_else(|| AppError::new("The studio is not running. Try again."))
}

/// The client of the request.
pub(super) fn client() -> Client {
    use_context().unwrap_or_default()
}

/// Whether a browser sent a plain form and wants a page back.
pub(super) fn is_plain_form() -> bool {
    use_context::<Parts>().is_some_and(|parts| {
        let accept = parts.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        accept.is_some_and(|accept| accept.contains("text/html"))
    })
}

/// Sends a plain form's browser to another page (303: with GET, never posting again).
pub(super) fn go_to(address: &str) {
    if let (Some(response), Ok(address)) = (use_context::<ResponseOptions>(), HeaderValue::from_str(address))
    {
        response.insert_header(header::LOCATION, address);
        response.set_status(StatusCode::SEE_OTHER);
    }
}

/// Sets the status that the API would respond with, so that logs agree, and converts the error.
pub(super) fn refuse(error: StudioError) -> AppError {
    let status =
        use_context::<StatusOf>().map_or(StatusCode::INTERNAL_SERVER_ERROR, |status| status.0(error.kind()));
    if let Some(response) = use_context::<ResponseOptions>() {
        response.set_status(status);
    }
    app_error(error)
}

/// Converts an error without touching the response: for a page that shows what it can.
pub(super) fn app_error(error: StudioError) -> AppError {
    let message = error.to_string();
    let fields = match error {
        StudioError::Invalid(invalid) => invalid.0,
        StudioError::UnknownAdapter { .. } => {
            vec![FieldError { field: "adapters".to_owned(), message: message.clone() }]
        }
        _ => Vec::new(),
    };
    AppError { message, fields }
}
