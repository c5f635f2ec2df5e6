//! The form. A plain post without a script; with one, the same values travel without loading a page.

use leptos::{ev::SubmitEvent, prelude::*};

use super::{
    kinds::{on, text},
    notice::Summary,
    piece::{IntoPiece, Piece},
    prompt::Prompt,
    send::Send,
    settings::Settings,
};
use crate::state::Page;

/// Prompt, settings, button.
#[component]
pub(crate) fn Composer() -> Piece {
    let page = Page::here();
    let id = move || page.stage.job.with(|job| job.as_ref().map(|job| job.id.clone()).unwrap_or_default());
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        page.submit();
    };
    let cancel = move |event: SubmitEvent| {
        event.prevent_default();
        page.cancel();
    };
    view! {
        <form
            class="composer"
            method="post"
            action="/make"
            enctype="multipart/form-data"
            novalidate
            on:submit=on(submit)
        >
            <Summary />
            <Prompt />
            <Settings />
            <Send />
        </form>
        <form id="cancel-form" method="post" action="/api/fn/cancel" hidden on:submit=on(cancel)>
            <input type="hidden" name="id" value=text(id) />
        </form>
    }
    .into_piece()
}
