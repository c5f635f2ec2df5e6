//! The address bar follows what is shown, so that a reload finds it again.

use wasm_bindgen::JsValue;

/// Replaces the address without loading anything and without a step in the history.
pub(crate) fn show_address(address: &str) {
    if let Ok(history) = leptos::prelude::window().history() {
        // Browsers refuse when a page does this too often; then the address is only older.
        let _ = history.replace_state_with_url(&JsValue::NULL, "", Some(address));
    }
}
