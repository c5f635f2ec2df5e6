//! The error of every server function: a message and the fields that it is about.

use adire_protocol::FieldError;
#[cfg(feature = "ssr")]
use axum::http::StatusCode;

/// Why something failed, as shown on the page.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "ssr", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct AppError {
    /// What happened, what it means, what to do.
    pub(crate) message: String,
    /// Fields of the form that are wrong; may be empty.
    pub(crate) fields: Vec<FieldError>,
}

impl AppError {
    /// An error that is about no field.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), fields: Vec::new() }
    }
}

#[cfg(feature = "ssr")]
impl leptos::prelude::FromServerFnError for AppError {
    type Encoder = super::json::Text;

    fn from_server_fn_error(error: leptos::prelude::ServerFnErrorErr) -> Self {
        use leptos::prelude::{ServerFnErrorErr as Kind, use_context};

        // On the server these are about what was sent, not about us.
        let status = match &error {
            Kind::Deserialization(why) if why.contains("length limit") => Some(StatusCode::PAYLOAD_TOO_LARGE),
            Kind::Args(_) | Kind::MissingArg(_) | Kind::Deserialization(_) => Some(StatusCode::BAD_REQUEST),
            _ => None,
        };
        if let Some((status, response)) = status.zip(use_context::<leptos_axum::ResponseOptions>()) {
            response.set_status(status);
        }
        Self::new(format!("Request failed ({error}). Reload the page and try again."))
    }
}
