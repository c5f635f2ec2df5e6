//! Browser APIs: clipboard, dropped files, the address bar, keys. Called only from effects and event
//! handlers, which never run on the server.

mod address;
mod clipboard;
mod field;
mod files;
mod keep;
mod prompt;
mod theme;

pub(crate) use address::show_address;
pub(crate) use clipboard::copy;
pub(crate) use field::{focus_field, tie};
pub(crate) use files::{drop_target, image_size, is_image, is_too_large, keep_file, kept_file};
pub(crate) use keep::{begin_keeping, keep, kept};
pub(crate) use prompt::{count_tokens, weigh_selection};
pub(crate) use theme::{Theme, set_theme, theme_of_cookie};

use wasm_bindgen::JsCast;

/// Loads and runs an optional module, once.
pub(crate) fn load_module(address: &str) {
    let page = leptos::prelude::document();
    let (Some(head), Ok(script)) = (page.head(), page.create_element("script")) else { return };
    // The module handles later uses itself.
    if page.get_element_by_id(address).is_none() {
        script.set_id(address);
        let _ = script.set_attribute("type", "module");
        let _ = script.set_attribute("src", address);
        let _ = head.append_child(&script);
    }
}

/// An element of the page by its id.
pub(crate) fn element<T: JsCast>(id: &str) -> Option<T> {
    leptos::prelude::document().get_element_by_id(id)?.dyn_into().ok()
}
