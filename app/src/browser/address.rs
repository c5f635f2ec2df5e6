//! The address bar follows what is shown, so that a reload finds it again.

/// Replaces the address without loading anything and without a step in the history, which keeps its name (`keep.rs`).
pub(crate) fn show_address(address: &str) {
    if let Ok(history) = leptos::prelude::window().history() {
        // Browsers refuse when a page does this too often; then the address is only older.
        let state = history.state().unwrap_or_default();
        let _ = history.replace_state_with_url(&state, "", Some(address));
    }
}
