//! What did not work, said once for everyone.

use leptos::{ev::MouseEvent, prelude::*};

use super::{
    icons::{Drawing, Icon},
    kinds::{on, part, text},
    piece::{IntoPiece, Piece},
};
use crate::{
    browser,
    state::{Begin, Notice, Page},
};

/// How many fields are wrong, for those who cannot see them.
#[component]
pub(crate) fn Summary() -> Piece {
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
    view! { <p class="off-screen" role="alert">{text(words)}</p> }.into_piece()
}

/// A problem or a remark above the canvas, until it is closed or something new happens.
#[component]
pub(crate) fn NoticeBar() -> Piece {
    let page = Page::here();
    let notice = page.stage.notice;
    let bar = move || {
        notice.get().map(|told| {
            let (class, sentence, offers) = match told {
                Notice::Problem(sentence) => ("notice problem", sentence, false),
                Notice::Remark(sentence) => ("notice", sentence, false),
                Notice::Offer(sentence) => ("notice", sentence, true),
            };
            let take = move |_: MouseEvent| {
                if let Some(file) = browser::kept_file() {
                    page.begin_with(file, Begin::Picture);
                }
            };
            view! {
                <div class=class>
                    <p>{sentence}</p>
                    <button type="button" class="link" id="start-from-it" hidden=!offers on:click=on(take)>
                        "Start from it, too"
                    </button>
                    <button
                        type="button"
                        class="icon-button live-only"
                        aria-label="Close this message"
                        on:click=on(move |_: MouseEvent| notice.set(None))
                    >
                        <Drawing icon=Icon::Close />
                    </button>
                </div>
            }
        })
    };
    let lost = move || {
        page.stage.lost.get().then(|| {
            view! {
                <div class="notice">
                    <p>"The connection is gone. The picture goes on; this page finds it again by itself."</p>
                </div>
            }
        })
    };
    view! {
        <div class="notices" role="status">
            {part(lost)}
            {part(bar)}
        </div>
    }
    .into_piece()
}
