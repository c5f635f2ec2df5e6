//! What did not work, said once for everyone.

use leptos::{ev::MouseEvent, prelude::*};

use super::{
    erased::{EraseView, ErasedView},
    icons::{Drawing, Icon},
    reactive::{dyn_text, dyn_view, handler},
};
use crate::{
    browser,
    state::{Notice, Page, UploadRole},
};

/// How many fields are wrong, for those who cannot see them.
#[component]
pub(crate) fn Summary() -> ErasedView {
    let page = Page::here();
    let words = move || {
        page.form.errors.with(|errors| match errors.as_slice() {
            [] => String::new(),
            [one] => format!("Not sent. {}", one.message),
            some => {
                let all: Vec<_> = some.iter().map(|error| error.message.as_str()).collect();
                format!("Not sent; {} fields need a change. {}", some.len(), all.join(" "))
            }
        })
    };
    view! { <p class="off-screen" role="alert">{dyn_text(words)}</p> }.erase()
}

/// A problem or a remark above the canvas, until it is closed or something new happens.
#[component]
pub(crate) fn NoticeBar() -> ErasedView {
    let page = Page::here();
    let notice = page.workspace.notice;
    let bar = move || {
        notice.get().map(|told| {
            let (class, sentence, offers) = match told {
                Notice::Problem(sentence) => ("notice problem", sentence, false),
                Notice::Remark(sentence) => ("notice", sentence, false),
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
                        "Start from it, too"
                    </button>
                    <button
                        type="button"
                        class="icon-button live-only"
                        aria-label="Close this message"
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
                    <p>"The connection is gone. The picture goes on; this page finds it again by itself."</p>
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
