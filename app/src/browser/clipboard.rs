//! Copying text.

use leptos::prelude::{document, window};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;

/// Puts text on the clipboard; says whether that worked.
pub(crate) async fn copy(text: &str) -> bool {
    // The clipboard object exists only on https and on this machine's own address.
    if window().is_secure_context() {
        return JsFuture::from(window().navigator().clipboard().write_text(text)).await.is_ok();
    }
    copy_the_old_way(text).unwrap_or(false)
}

/// Through a selected text field; what browsers still allow over plain http in a local network.
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
