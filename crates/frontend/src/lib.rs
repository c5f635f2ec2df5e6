//! The page's WebAssembly entry point: makes what the server rendered interactive.

// Deep view types; the default limit is reached while they are resolved.
#![recursion_limit = "256"]

use wasm_bindgen::prelude::wasm_bindgen;

/// Called by the page once the module is loaded.
#[wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    leptos::mount::hydrate_body(adire_app::App);
}
