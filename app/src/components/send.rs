//! The button. It says what will happen and when; while a generation is under way it cancels.

use leptos::{ev::MouseEvent, prelude::*};

use super::{
    icons::{Drawing, Icon},
    kinds::{flag, on, part, text},
    piece::{IntoPiece, Piece},
};
use crate::{
    browser,
    state::Page,
    words::{forecast, pictures},
};

/// Generate, or Cancel in its place.
#[component]
pub(crate) fn Send() -> Piece {
    let page = Page::here();
    let busy = Memo::new(move |_| page.stage.is_busy());
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
            {part(move || if busy.get() { view! { <Cancel /> } } else { view! { <Make /> } })}
        </div>
    }
    .into_piece()
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
fn Make() -> Piece {
    let page = Page::here();
    let work = Memo::new(move |_| page.work());
    let when = Memo::new(move |_| {
        let with = page.form.with_adapters();
        let when = forecast(&page.stage.queue.get(), work.get());
        [with, when].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
    });
    let hint = move || {
        let when = when.get();
        (!when.is_empty()).then(|| view! { <span class="when">{when}</span> })
    };
    view! {
        <button type="submit" class="primary" id="generate" disabled=flag(move || page.stage.sending.get())>
            <span class="what">{text(move || format!("Make {}", pictures(work.get().count)))}</span>
            {part(hint)}
        </button>
    }
    .into_piece()
}

/// Belongs to the form beside the composer, because a form inside another does not exist.
#[component]
fn Cancel() -> Piece {
    let page = Page::here();
    // The second half of a double click on Generate lands here and was not meant for us.
    let guard = |event: MouseEvent| {
        if event.detail() > 1 {
            event.prevent_default();
        }
    };
    let label = move || if page.stage.stopping.get() { "Stopping…" } else { "Cancel" };
    view! {
        <button
            type="submit"
            class="stop"
            id="cancel"
            form="cancel-form"
            disabled=flag(move || page.stage.stopping.get())
            on:click=on(guard)
        >
            <span class="what">{text(move || label().to_owned())}</span>
        </button>
    }
    .into_piece()
}
