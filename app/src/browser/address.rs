//! Keeps the address bar in step with the page, so that a reload shows the same.

/// Replaces the address without loading and without adding a history entry, which keeps its name (`keep.rs`).
pub(crate) fn show_address(address: &str) {
    if let Ok(history) = leptos::prelude::window().history() {
        // Browsers refuse when a page does this too often; the address is then merely stale.
        let state = history.state().unwrap_or_default();
        let _ = history.replace_state_with_url(&state, "", Some(address));
    }
}
