//! The page's WebAssembly entry point: makes what the server rendered interactive.

use wasm_bindgen::prelude::wasm_bindgen;

/// Called by the page once the module is loaded.
#[wasm_bindgen]
pub fn hydrate() {
    // Its sentences are for whoever changes the page; the download goes without.
    #[cfg(debug_assertions)]
    console_error_panic_hook::set_once();
    adire_app::hydrate();
}
