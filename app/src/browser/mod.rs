//! The few things that only a browser can do: event streams, clipboard, dropped files, the address bar, keys.
//! Everything here is called from effects and event handlers, which never run on the server.

mod address;
mod clipboard;
mod events;
mod field;
mod prompt;
mod recipe;
mod theme;

pub(crate) use address::show_address;
pub(crate) use clipboard::copy;
pub(crate) use events::{follow, stop_following};
pub(crate) use field::{focus_field, tie};
pub(crate) use prompt::{count_tokens, weigh_selection};
pub(crate) use recipe::{drop_target, read_recipe};
pub(crate) use theme::{Theme, set_theme, theme_of_cookie};

use wasm_bindgen::JsCast;

/// An element of the page by its id.
pub(crate) fn element<T: JsCast>(id: &str) -> Option<T> {
    leptos::prelude::document().get_element_by_id(id)?.dyn_into().ok()
}
