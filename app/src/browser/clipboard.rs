//! Copying text.

use leptos::prelude::{document, window};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;

/// Copies text to the clipboard; returns whether it succeeded.
pub(crate) async fn copy(text: &str) -> bool {
    // The clipboard API exists only over https and on localhost.
    if window().is_secure_context() {
        return JsFuture::from(window().navigator().clipboard().write_text(text)).await.is_ok();
    }
    copy_the_old_way(text).unwrap_or(false)
}

/// Copies through a selected text field, which browsers still allow over plain http.
fn copy_the_old_way(text: &str) -> Option<bool> {
    let page = document();
    let field: web_sys::HtmlTextAreaElement = page.create_element("textarea").ok()?.dyn_into().ok()?;
    field.set_value(text);
    field.set_class_name("off-screen");
    let body = page.body()?;
    body.append_child(&field).ok()?;
    field.select();
    let copied = page.dyn_ref::<web_sys::HtmlDocument>()?.exec_command("copy").unwrap_or(false);
    field.remove();
    Some(copied)
}
