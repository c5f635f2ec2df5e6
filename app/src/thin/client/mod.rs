//! The browser's side of the server functions and of the few API routes that the page uses. Hand-written: for these few
//! calls, leptos' client with its codecs would be a twentieth of the page's download.

#[cfg(not(feature = "leptos-client"))]
mod functions;
#[cfg(feature = "leptos-client")]
#[path = "../stock/functions.rs"]
mod functions;

pub(crate) use functions::{
    cancel, delete_all, delete_image, generate, load_history, load_queue, load_studio,
};

use adire_protocol::{GenerationRequest, Rating, Thumb, Upload};
use leptos::prelude::window;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{File, RequestInit, Response};

use super::wire::{Value, Wire};
use crate::api::AppError;

const JSON: &str = "application/json";
/// The server detects the format from the bytes.
const BYTES: &str = "application/octet-stream";

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

/// What the visitor thinks of an image.
pub(crate) async fn load_rating(generation: &str, index: u32) -> Result<Rating, AppError> {
    read(&call(&rating_of(generation, index), "", JsValue::UNDEFINED).await?)
}

/// Keeps what the visitor thinks of an image.
pub(crate) async fn rate(generation: &str, index: u32, rating: Rating) -> Result<(), AppError> {
    let thumb = match rating.thumb {
        Some(Thumb::Up) => ",\"thumb\":\"up\"",
        Some(Thumb::Down) => ",\"thumb\":\"down\"",
        None => "",
    };
    let body = format!("{{\"starred\":{}{thumb}}}", rating.starred);
    send("PUT", &rating_of(generation, index), JSON, body.into()).await.map(drop)
}

fn rating_of(generation: &str, index: u32) -> String {
    format!("/api/v1/generations/{generation}/images/{index}/rating")
}

fn read<T: Wire>(value: &Value) -> Result<T, AppError> {
    value.read().ok_or_else(unreadable)
}

fn unreadable() -> AppError {
    AppError::new("The server's response could not be read. Reload the page and try again.")
}

fn unreached() -> AppError {
    AppError::new("Couldn't reach the server. Nothing was sent; try again.")
}

/// POSTs `body`, or GETs where there is none. The error has the message and fields of the response.
async fn call(address: &str, kind: &str, body: JsValue) -> Result<Value, AppError> {
    send("POST", address, kind, body).await
}

/// [`call`] with a method for `body`.
async fn send(method: &str, address: &str, kind: &str, body: JsValue) -> Result<Value, AppError> {
    let init = RequestInit::new();
    if !body.is_undefined() {
        init.set_method(method);
        init.set_body(&body);
        init.set_headers(&js_sys::Array::of1(&js_sys::Array::of2(&"content-type".into(), &kind.into())));
    }
    let (ok, text) = exchange(address, &init).await.map_err(|_| unreached())?;
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
