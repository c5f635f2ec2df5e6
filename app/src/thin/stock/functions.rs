//! [`functions`](super) with Leptos' own client: the server functions as `api` declares them, without their bodies, which
//! only the server has.

use adire_protocol::{Generation, ImageRecord, QueueStatus};
use leptos::{
    prelude::*,
    server_fn::{
        Bytes, ContentType, Decodes, Encodes, Format, FormatType,
        codec::{GetUrl, Post},
    },
};

use super::{
    super::wire::{Value, Wire},
    unreached, unreadable,
};
use crate::{
    api::{AppError, StudioData},
    form::{self, FormValues},
};

#[server(prefix = "/api/fn", endpoint = "generate", output = Json)]
async fn post_generate(#[server(flatten)] form: FormValues) -> Result<Generation, AppError> {}

#[server(prefix = "/api/fn", endpoint = "cancel", output = Json)]
async fn post_cancel(id: String) -> Result<(), AppError> {}

#[server(prefix = "/api/fn", endpoint = "delete", output = Json)]
async fn post_delete(generation: String, index: u32) -> Result<(), AppError> {}

/// Deletes every image of this visitor.
#[server(prefix = "/api/fn", endpoint = "delete_all", output = Json)]
pub(crate) async fn delete_all() -> Result<(), AppError> {}

/// The images before `before` (an image's `created_at`), newest first, and whether more follow.
#[server(prefix = "/api/fn", endpoint = "history", input = GetUrl, output = Json)]
pub(crate) async fn load_history(before: i64) -> Result<(Vec<ImageRecord>, bool), AppError> {}

/// State of the queue.
#[server(prefix = "/api/fn", endpoint = "queue", input = GetUrl, output = Json)]
pub(crate) async fn load_queue() -> Result<QueueStatus, AppError> {}

#[server(prefix = "/api/fn", endpoint = "studio", input = GetUrl, output = Json)]
async fn get_studio(generation: Option<String>) -> Result<StudioData, AppError> {}

/// Reads the form and puts it into the queue.
pub(crate) async fn generate(values: &FormValues) -> Result<Generation, AppError> {
    post_generate(values.clone()).await
}

/// Cancels a generation.
pub(crate) async fn cancel(id: &str) -> Result<(), AppError> {
    post_cancel(id.to_owned()).await
}

/// Deletes one image permanently.
pub(crate) async fn delete_image(generation: &str, index: u32) -> Result<(), AppError> {
    post_delete(generation.to_owned(), index).await
}

/// The page's data once more. `generation`: the generation that the page follows.
pub(crate) async fn load_studio(generation: &str) -> Result<StudioData, AppError> {
    get_studio(Some(generation.to_owned())).await
}

// Unused here: the form is written by serde_qs.
const _: fn(&FormValues) -> String = form::post_body;

type Json = Post<Text>;

/// JSON, read as the rest of the page reads it.
pub(crate) struct Text;

impl ContentType for Text {
    const CONTENT_TYPE: &'static str = "application/json";
}

impl FormatType for Text {
    const FORMAT_TYPE: Format = Format::Text;
}

impl<T: Wire> Decodes<T> for Text {
    type Error = String;

    fn decode(bytes: Bytes) -> Result<T, String> {
        let value = std::str::from_utf8(&bytes).ok().and_then(Value::parse);
        value.and_then(|value| value.read()).ok_or_else(String::new)
    }
}

impl<T> Encodes<T> for Text {
    type Error = String;

    /// Never called: the server writes, with a codec of its own.
    fn encode(_: &T) -> Result<Bytes, String> {
        Err(String::new())
    }
}

crate::thin::wire::records! {
    AppError { message, fields }
}

impl FromServerFnError for AppError {
    type Encoder = Text;

    fn from_server_fn_error(error: ServerFnErrorErr) -> Self {
        match error {
            ServerFnErrorErr::Request(_) => unreached(),
            _ => unreadable(),
        }
    }
}
