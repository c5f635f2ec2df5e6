//! Problems and warnings above the canvas, and a summary of form errors for screen readers.

use leptos::{ev::MouseEvent, prelude::*};

use super::icons::{Drawing, Icon};
use crate::{
    browser,
    state::{Notice, Page, UploadRole},
    thin::{
        erased::{EraseView, ErasedView},
        reactive::{dyn_text, dyn_view, handler},
    },
};

/// Number of invalid fields and their messages, for screen readers.
#[component]
pub(crate) fn Summary() -> ErasedView {
    let page = Page::here();
    let words = move || {
        page.form.errors.with(|errors| match errors.as_slice() {
            [] => String::new(),
            [one] => format!("Fix 1 field: {}", one.message),
            some => {
                let all: Vec<_> = some.iter().map(|error| error.message.as_str()).collect();
                format!("Fix {} fields: {}", some.len(), all.join(" "))
            }
        })
    };
    view! { <p class="off-screen" role="alert">{dyn_text(words)}</p> }.erase()
}

/// A problem or a warning above the canvas, until it is dismissed or replaced.
#[component]
pub(crate) fn NoticeBar() -> ErasedView {
    let page = Page::here();
    let notice = page.workspace.notice;
    let bar = move || {
        notice.get().map(|notice_now| {
            let (class, sentence, offers) = match notice_now {
                Notice::Problem(sentence) => ("notice problem", sentence, false),
                Notice::Warning(sentence) => ("notice", sentence, false),
                Notice::Offer(sentence) => ("notice", sentence, true),
            };
            let take = move |_: MouseEvent| {
                if let Some(file) = browser::kept_file() {
                    page.upload_as(file, UploadRole::InitImage);
                }
            };
            view! {
                <div class=class>
                    <p>{sentence}</p>
                    <button type="button" class="link" id="start-from-it" hidden=!offers on:click=handler(take)>
                        "Use as init image"
                    </button>
                    <button
                        type="button"
                        class="icon-button live-only"
                        aria-label="Dismiss message"
                        on:click=handler(move |_: MouseEvent| notice.set(None))
                    >
                        <Drawing icon=Icon::Close />
                    </button>
                </div>
            }
        })
    };
    let lost = move || {
        page.workspace.lost.get().then(|| {
            view! {
                <div class="notice">
                    <p>"Connection lost. The generation is still running; reconnecting…"</p>
                </div>
            }
        })
    };
    view! {
        <div class="notices" role="status">
            {dyn_view(lost)}
            {dyn_view(bar)}
        </div>
    }
    .erase()
}
