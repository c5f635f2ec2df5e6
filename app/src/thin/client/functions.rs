//! The server functions, for the browser.

use adire_protocol::{Generation, ImageRecord, QueueStatus};
use wasm_bindgen::JsValue;

use super::{call, read};
use crate::{
    api::{AppError, StudioData},
    form::{self, FormValues},
};

const FORM: &str = "application/x-www-form-urlencoded";

/// Reads the form and puts it into the queue.
pub(crate) async fn generate(values: &FormValues) -> Result<Generation, AppError> {
    read(&call("/api/fn/generate", FORM, form::post_body(values).into()).await?)
}

/// Cancels a generation.
pub(crate) async fn cancel(id: &str) -> Result<(), AppError> {
    call("/api/fn/cancel", FORM, format!("id={id}").into()).await.map(drop)
}

/// Deletes one image permanently.
pub(crate) async fn delete_image(generation: &str, index: u32) -> Result<(), AppError> {
    call("/api/fn/delete", FORM, format!("generation={generation}&index={index}").into()).await.map(drop)
}

/// Deletes every image of this visitor.
pub(crate) async fn delete_all() -> Result<(), AppError> {
    call("/api/fn/delete_all", FORM, "".into()).await.map(drop)
}

/// The images before `before` (an image's `created_at`), newest first, and whether more follow.
pub(crate) async fn load_history(before: i64) -> Result<(Vec<ImageRecord>, bool), AppError> {
    read(&call(&format!("/api/fn/history?before={before}"), "", JsValue::UNDEFINED).await?)
}

/// State of the queue.
pub(crate) async fn load_queue() -> Result<QueueStatus, AppError> {
    read(&call("/api/fn/queue", "", JsValue::UNDEFINED).await?)
}

/// The page's data once more. `generation`: the generation that the page follows.
pub(crate) async fn load_studio(generation: &str) -> Result<StudioData, AppError> {
    read(&call(&format!("/api/fn/studio?generation={generation}"), "", JsValue::UNDEFINED).await?)
}
