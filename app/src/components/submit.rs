//! The button. It says what will happen and when; while a generation is under way it cancels.

use leptos::{ev::MouseEvent, prelude::*};

use super::{
    erased::{EraseView, ErasedView},
    icons::{Drawing, Icon},
    reactive::{dyn_flag, dyn_text, dyn_view, handler},
};
use crate::{
    browser,
    state::Page,
    words::{forecast, images},
};

/// Generate, or Cancel in its place.
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

/// One button takes the other's place; whoever had the focus there has it on the new one.
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
    let when = Memo::new(move |_| {
        let with = page.form.with_adapters();
        let when = forecast(&page.workspace.queue.get(), work.get());
        [with, when].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
    });
    let hint = move || {
        let when = when.get();
        (!when.is_empty()).then(|| view! { <span class="when">{when}</span> })
    };
    view! {
        <button type="submit" class="primary" id="generate" disabled=dyn_flag(move || page.workspace.sending.get())>
            <span class="what">{dyn_text(move || format!("Make {}", images(work.get().count)))}</span>
            {dyn_view(hint)}
        </button>
    }
    .erase()
}

/// Belongs to the form beside the composer, because a form inside another does not exist.
#[component]
fn Cancel() -> ErasedView {
    let page = Page::here();
    // The second half of a double click on Generate lands here and was not meant for us.
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
