//! Prompt fields: token counts, and keys that change the weight of the selection.

use std::time::Duration;

use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{HtmlDocument, HtmlElement, HtmlTextAreaElement};

use crate::{
    form::{Edit, id_of, reweigh},
    thin::client,
};

/// Delay after the last key before tokens are counted.
const PAUSE: Duration = Duration::from_millis(400);

/// Writes how many tokens a prompt has into the element `tokens-{field}`, as “23 / 75”; the server counts. `adapters`: those
/// that are on, as JSON strings. Boxed: each type of closure would be compiled for itself.
pub(crate) fn count_tokens(field: &'static str, text: RwSignal<String>, adapters: Box<dyn Fn() -> String>) {
    let latest = StoredValue::new(0u32);
    Effect::new(move || {
        let (wanted, adapters) = (text.get(), adapters());
        latest.update_value(|number| *number += 1);
        let number = latest.get_value();
        // The page may have been left.
        let is_latest = move || latest.try_get_value() == Some(number);
        set_timeout(
            move || {
                if is_latest() {
                    spawn_local(async move {
                        // An empty prompt needs no request.
                        let count = if wanted.is_empty() {
                            None
                        } else {
                            client::count_tokens(field, &wanted, &adapters).await.ok()
                        };
                        let count = count.map(|(tokens, capacity)| format!("{tokens} / {capacity}"));
                        if let (true, Some(element)) =
                            (is_latest(), super::element::<HtmlElement>(&format!("tokens-{field}")))
                        {
                            // The error of an overlong text is shown elsewhere.
                            element.set_text_content(count.as_deref());
                        }
                    });
                }
            },
            PAUSE,
        );
    });
}

/// Changes the weight of the selection in the focused prompt field. Returns whether a prompt field has the focus.
pub(crate) fn weigh_selection(up: bool) -> bool {
    let Some(field) = document().active_element().and_then(|e| e.dyn_into::<HtmlTextAreaElement>().ok())
    else {
        return false;
    };
    if ![id_of("prompt"), id_of("negative_prompt")].contains(&field.id()) {
        return false;
    }
    let position = |position: Result<Option<u32>, JsValue>| position.ok().flatten().unwrap_or_default();
    let (start, end) = (position(field.selection_start()), position(field.selection_end()));
    let text: Vec<u16> = field.value().encode_utf16().collect();
    if let Some(Edit { from, to, text, select }) = reweigh(&text, start as usize, end as usize, up) {
        let _ = field.set_selection_range(from as u32, to as u32);
        // The only way that keeps the browser's undo; it also fires `input`. A browser without it leaves the text
        // unchanged.
        if let Some(document) = document().dyn_ref::<HtmlDocument>() {
            let _ = document.exec_command_with_show_ui_and_value("insertText", false, &text);
        }
        let _ = field.set_selection_range(select.0 as u32, select.1 as u32);
    }
    true
}
