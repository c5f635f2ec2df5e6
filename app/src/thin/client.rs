//! The browser's side of the server functions and of the few API routes that the page uses. Hand-written: for these few
//! calls, leptos' client with its codecs would be a tenth of the page's download.

use adire_protocol::{Generation, GenerationRequest, ImageRecord, QueueStatus, Upload};
use leptos::prelude::window;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{File, RequestInit, Response};

use super::wire::{Value, Wire};
use crate::{
    api::{AppError, StudioData},
    form::{self, FormValues},
};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
/// The server detects the format from the bytes.
const BYTES: &str = "application/octet-stream";

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
    let page = call(&format!("/api/fn/history?before={before}"), "", JsValue::UNDEFINED).await?;
    // A pair travels as a list of two.
    Ok((read(&page.get("0"))?, read(&page.get("1"))?))
}

/// State of the queue.
pub(crate) async fn load_queue() -> Result<QueueStatus, AppError> {
    read(&call("/api/fn/queue", "", JsValue::UNDEFINED).await?)
}

/// The page's data once more. `generation`: the generation that the page follows.
pub(crate) async fn load_studio(generation: &str) -> Result<StudioData, AppError> {
    read(&call(&format!("/api/fn/studio?generation={generation}"), "", JsValue::UNDEFINED).await?)
}

/// Parameters of an image.
pub(crate) async fn read_recipe(file: &File) -> Result<GenerationRequest, AppError> {
    read(&call("/api/v1/recipe?as_read=true", BYTES, file.into()).await?)
}

/// Uploads an image; `role` is `init_image` or `mask`.
pub(crate) async fn upload(file: &File, role: &str) -> Result<Upload, AppError> {
    read(&call(&format!("/api/v1/uploads?role={role}"), BYTES, file.into()).await?)
}

/// How many tokens a prompt has with these adapters (JSON, separated by commas), and how many fit.
pub(crate) async fn count_tokens(field: &str, text: &str, adapters: &str) -> Result<(u32, u32), AppError> {
    let quoted = js_sys::JSON::stringify(&text.into()).map(String::from).unwrap_or_default();
    let body = format!("{{\"{field}\":{quoted},\"adapters\":[{adapters}]}}");
    let counts = call("/api/v1/tokens", JSON, body.into()).await?;
    let count = counts.get(field);
    Ok((read(&count.get("tokens"))?, read(&count.get("capacity"))?))
}

fn read<T: Wire>(value: &Value) -> Result<T, AppError> {
    value.read().ok_or_else(unreadable)
}

fn unreadable() -> AppError {
    AppError::new("The server's response could not be read. Reload the page and try again.")
}

/// POSTs `body`, or GETs where there is none. The error has the message and fields of the response.
async fn call(address: &str, kind: &str, body: JsValue) -> Result<Value, AppError> {
    let init = RequestInit::new();
    if !body.is_undefined() {
        init.set_method("POST");
        init.set_body(&body);
        init.set_headers(&js_sys::Array::of1(&js_sys::Array::of2(&"content-type".into(), &kind.into())));
    }
    let (ok, text) = exchange(address, &init)
        .await
        .map_err(|_| AppError::new("Couldn't reach the server. Nothing was sent; try again."))?;
    let value = Value::parse(&text).ok_or_else(unreadable)?;
    if ok {
        return Ok(value);
    }
    // A server function's error, or the API's.
    let message: Option<String> = value.get("message").read().or_else(|| value.get("detail").read());
    let fields = value.get("fields").read().or_else(|| value.get("errors").read()).unwrap_or_default();
    Err(message.map_or_else(unreadable, |message| AppError { message, fields }))
}

async fn exchange(address: &str, init: &RequestInit) -> Result<(bool, String), JsValue> {
    let answer: Response =
        JsFuture::from(window().fetch_with_str_and_init(address, init)).await?.unchecked_into();
    let text = JsFuture::from(answer.text()?).await?;
    Ok((answer.ok(), text.as_string().unwrap_or_default()))
}
