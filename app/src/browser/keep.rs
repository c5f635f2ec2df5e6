//! What the fields hold, kept for as long as the tab lives: going back, going forward and reloading find every field as it
//! was. Each step of the browser's history has a name of its own; whoever comes to the bare address `/` anew finds what
//! this tab held last.

use std::cell::RefCell;

use leptos::prelude::window;
use wasm_bindgen::JsValue;
use web_sys::Storage;

/// What all names begin with.
const OURS: &str = "adire/";
/// What this tab held last.
const LAST: &str = "adire/last";

thread_local! {
    static NAME: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Not every browser has one, nor with every setting.
fn storage() -> Option<Storage> {
    window().session_storage().ok().flatten()
}

/// Gives this step of the history its name, unless it has one.
pub(crate) fn begin_keeping() {
    let Ok(history) = window().history() else { return };
    let known = history.state().ok().and_then(|state| state.as_string());
    let name = known.filter(|name| name.starts_with(OURS)).unwrap_or_else(|| {
        let name = format!("{OURS}{}", js_sys::Math::random());
        // Without an address the step keeps the one it has.
        let _ = history.replace_state(&JsValue::from_str(&name), "");
        name
    });
    NAME.set(name);
}

/// What was kept for this step, if it has been here before.
pub(crate) fn kept() -> Option<String> {
    let storage = storage()?;
    let read = |name: &str| storage.get_item(name).ok().flatten();
    let location = window().location();
    let bare = location.search().is_ok_and(|search| search.is_empty());
    NAME.with_borrow(|name| read(name)).or_else(|| bare.then(|| read(LAST)).flatten())
}

/// Keeps a text for this step.
pub(crate) fn keep(text: &str) {
    let Some(storage) = storage() else { return };
    NAME.with_borrow(|name| {
        if storage.set_item(name, text).is_err() {
            // Full: what is long ago goes.
            let _ = storage.clear();
            let _ = storage.set_item(name, text);
        }
        let _ = storage.set_item(LAST, text);
    });
}
