//! The Generate button, with the expected time; Cancel while a generation is queued or running.

use leptos::{ev::MouseEvent, prelude::*};

use super::icons::{Drawing, Icon};
use crate::{
    browser,
    state::Page,
    thin::{
        erased::{EraseView, ErasedView},
        reactive::{dyn_flag, dyn_text, dyn_view, handler},
    },
    words::{forecast as forecast_text, images},
};

/// Generate, or Cancel while busy.
#[component]
pub(crate) fn SubmitButton() -> ErasedView {
    let page = Page::here();
    let busy = Memo::new(move |_| page.workspace.is_busy());
    Effect::new(move |before: Option<bool>| {
        let busy = busy.get();
        if before.is_some_and(|before| before != busy) {
            keep_focus(if busy { "cancel" } else { "generate" });
        }
        busy
    });
    view! {
        <div class="send">
            <button type="button" class="sheet-open" popovertarget="settings" aria-label="Settings" title="Settings">
                <Drawing icon=Icon::Settings />
            </button>
            {dyn_view(move || if busy.get() { view! { <Cancel /> } } else { view! { <GenerateButton /> } })}
        </div>
    }
    .erase()
}

/// One button replaces the other; keyboard focus moves to the new one.
fn keep_focus(id: &'static str) {
    request_animation_frame(move || {
        let lost = document().active_element().is_none_or(|focused| focused.tag_name() == "BODY");
        if lost && let Some(button) = browser::element::<web_sys::HtmlElement>(id) {
            let _ = button.focus();
        }
    });
}

#[component]
fn GenerateButton() -> ErasedView {
    let page = Page::here();
    let work = Memo::new(move |_| page.work());
    let forecast = Memo::new(move |_| {
        let with = page.form.with_adapters();
        let time = forecast_text(&page.workspace.queue.get(), work.get());
        [with, time].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
    });
    let label = move || match work.get().count {
        1 => "Generate".to_owned(),
        count => format!("Generate {}", images(count)),
    };
    let hint = move || {
        let text = forecast.get();
        (!text.is_empty()).then(|| view! { <span class="when">{text}</span> })
    };
    view! {
        <button type="submit" class="primary" id="generate" disabled=dyn_flag(move || page.workspace.sending.get())>
            <span class="what">{dyn_text(label)}</span>
            {dyn_view(hint)}
        </button>
    }
    .erase()
}

/// Submits the form beside the composer, because forms cannot be nested.
#[component]
fn Cancel() -> ErasedView {
    let page = Page::here();
    // Ignores the second click of a double click on Generate.
    let guard = |event: MouseEvent| {
        if event.detail() > 1 {
            event.prevent_default();
        }
    };
    let label = move || if page.workspace.stopping.get() { "Stopping…" } else { "Cancel" };
    view! {
        <button
            type="submit"
            class="stop"
            id="cancel"
            form="cancel-form"
            disabled=dyn_flag(move || page.workspace.stopping.get())
            on:click=handler(guard)
        >
            <span class="what">{dyn_text(move || label().to_owned())}</span>
        </button>
    }
    .erase()
}
