//! Keeps the values of the fields while the tab lives, so that back, forward and reload restore every field. Each entry of
//! the browser's history has its own name; a fresh visit to the bare address `/` restores the values this tab had last.

use std::cell::RefCell;

use adire_protocol::decimal::Decimal;
use leptos::prelude::window;
use wasm_bindgen::JsValue;
use web_sys::Storage;

/// Prefix of all names.
const OURS: &str = "adire/";
/// The latest values of this tab.
const LAST: &str = "adire/last";

thread_local! {
    static NAME: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Session storage, which some browsers or settings do not offer.
fn storage() -> Option<Storage> {
    window().session_storage().ok().flatten()
}

/// Names the current history entry, unless it has a name.
pub(crate) fn begin_keeping() {
    let Ok(history) = window().history() else { return };
    let known = history.state().ok().and_then(|state| state.as_string());
    let name = known.filter(|name| name.starts_with(OURS)).unwrap_or_else(|| {
        let name = format!("{OURS}{}", Decimal(js_sys::Math::random()));
        // Without an address the entry keeps its own.
        let _ = history.replace_state(&JsValue::from_str(&name), "");
        name
    });
    NAME.set(name);
}

/// The values kept for this history entry, if any.
pub(crate) fn kept() -> Option<String> {
    let storage = storage()?;
    let read = |name: &str| storage.get_item(name).ok().flatten();
    let location = window().location();
    let bare = location.search().is_ok_and(|search| search.is_empty());
    NAME.with_borrow(|name| read(name)).or_else(|| bare.then(|| read(LAST)).flatten())
}

/// Keeps a text for this history entry.
pub(crate) fn keep(text: &str) {
    let Some(storage) = storage() else { return };
    NAME.with_borrow(|name| {
        if storage.set_item(name, text).is_err() {
            // Full: removes the oldest entries.
            let _ = storage.clear();
            let _ = storage.set_item(name, text);
        }
        let _ = storage.set_item(LAST, text);
    });
}
