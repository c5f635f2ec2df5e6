//! Keyboard shortcuts, and the dialog that lists them.

use leptos::{ev, prelude::*};
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlDialogElement, KeyboardEvent};

use crate::{
    browser,
    state::Page,
    thin::erased::{EraseView, ErasedView},
};

const KEYS: [(&str, &str); 6] = [
    ("Ctrl + Enter", "Generate"),
    ("Esc", "Cancel"),
    ("/", "Focus the prompt"),
    ("Ctrl + ↑ ↓", "Raise or lower the weight of the selection"),
    ("← →", "Newer or older image"),
    ("?", "Show shortcuts"),
];

/// Listens on the whole page and renders the dialog.
#[component]
pub(crate) fn Keys() -> ErasedView {
    let page = Page::here();
    Effect::new(move || {
        let handle = window_event_listener(ev::keydown, move |event| pressed(page, &event));
        on_cleanup(move || handle.remove());
    });
    let rows = KEYS.map(|(keys, does)| {
        view! {
            <div>
                <dt>
                    <kbd>{keys}</kbd>
                </dt>
                <dd>{does}</dd>
            </div>
        }
    });
    view! {
        <dialog id="keys" aria-labelledby="keys-title">
            <h2 id="keys-title">"Keyboard shortcuts"</h2>
            <dl>{rows.into_iter().collect::<Vec<_>>()}</dl>
            <form method="dialog">
                <button class="button">"Close"</button>
            </form>
        </dialog>
    }
    .erase()
}

/// Opens the dialog.
pub(crate) fn show_keys() {
    if let Some(dialog) = browser::element::<HtmlDialogElement>("keys")
        && !dialog.open()
    {
        let _ = dialog.show_modal();
    }
}

fn pressed(page: Page, event: &KeyboardEvent) {
    if event.default_prevented() || event.alt_key() {
        return;
    }
    let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    let inside = |selector: &str| {
        target.as_ref().is_some_and(|target| target.closest(selector).is_ok_and(|found| found.is_some()))
    };
    let with_control = event.ctrl_key() || event.meta_key();
    match event.key().as_str() {
        "Enter" if with_control => {
            event.prevent_default();
            page.submit();
        }
        key @ ("ArrowUp" | "ArrowDown")
            if with_control && inside("textarea") && browser::weigh_selection(key == "ArrowUp") =>
        {
            event.prevent_default();
        }
        // An open sheet or dialog handles Escape itself.
        "Escape" if !inside("dialog, :popover-open") => page.cancel(),
        _ if with_control || inside("input:not([type=radio]), textarea, select, dialog") => {}
        "/" => {
            event.prevent_default();
            browser::focus_field("prompt");
        }
        "?" => show_keys(),
        "ArrowLeft" if !inside("input") => step(page, event, -1),
        "ArrowRight" if !inside("input") => step(page, event, 1),
        _ => {}
    }
}

/// Selects the next or previous image of the strip. Focus follows if it was in the strip.
fn step(page: Page, event: &KeyboardEvent, by: isize) {
    let next = page.workspace.history.with_untracked(|history| {
        let here = page.workspace.shown.with_untracked(|shown| {
            let shown = shown.as_ref()?;
            history.iter().position(|p| p.generation == shown.generation && p.index == shown.index)
        });
        let next = match here {
            Some(here) => here.checked_add_signed(by)?,
            None => 0,
        };
        history.get(next).cloned()
    });
    if next.is_none() {
        return;
    }
    event.prevent_default();
    page.show(next);
    request_animation_frame(|| {
        let current = document().query_selector("#history [aria-current]").ok().flatten();
        let in_strip = document()
            .active_element()
            .is_some_and(|focused| focused.closest("#history").is_ok_and(|strip| strip.is_some()));
        if let Some(current) = current.and_then(|current| current.dyn_into::<web_sys::HtmlElement>().ok()) {
            if in_strip {
                let _ = current.focus();
            } else {
                let options = web_sys::ScrollIntoViewOptions::new();
                options.set_block(web_sys::ScrollLogicalPosition::Nearest);
                options.set_inline(web_sys::ScrollLogicalPosition::Nearest);
                current.scroll_into_view_with_scroll_into_view_options(&options);
            }
        }
    });
}
