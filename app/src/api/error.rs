//! The one error of every server function: a sentence, and the fields that it is about.

use adire_protocol::FieldError;
use leptos::prelude::{FromServerFnError, ServerFnErrorErr};
use serde::{Deserialize, Serialize};

/// Why something could not be done, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppError {
    /// What happened, what it means, what to do.
    pub(crate) message: String,
    /// Fields of the form that are wrong; may be empty.
    #[serde(default)]
    pub(crate) fields: Vec<FieldError>,
}

impl AppError {
    /// An error that is about no field.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), fields: Vec::new() }
    }
}

impl FromServerFnError for AppError {
    type Encoder = super::json::Text;

    fn from_server_fn_error(error: ServerFnErrorErr) -> Self {
        Self::new(match error {
            ServerFnErrorErr::Request(_) | ServerFnErrorErr::Response(_) => {
                "The server cannot be reached. Nothing was sent; try again in a moment.".to_owned()
            }
            // What a proxy or another layer answered is not JSON of ours.
            ServerFnErrorErr::Deserialization(_) => {
                "The server answered something unreadable. Reload the page and try again.".to_owned()
            }
            other => format!("This did not work ({other}). Reload the page and try again."),
        })
    }
}
