//! Permanent deletion: a fold with buttons that name what they delete. Plain forms without a script.

use adire_protocol::ImageRecord;
use leptos::{ev::SubmitEvent, prelude::*};

use crate::{
    state::Page,
    thin::{
        erased::{EraseView, ErasedView},
        reactive::handler,
    },
};

/// Deletes the image on the canvas, or every image of this visitor.
#[component]
pub(super) fn Delete(shown: ImageRecord) -> ErasedView {
    let page = Page::here();
    let (generation, index) = (shown.generation.clone(), shown.index.to_string());
    let this = move |event: SubmitEvent| {
        event.prevent_default();
        page.delete(Some(shown.clone()));
    };
    let all = move |event: SubmitEvent| {
        event.prevent_default();
        page.delete(None);
    };
    view! {
        <details class="fold delete" id="delete">
            <summary>"Delete"</summary>
            <form method="post" action="/api/fn/delete" on:submit=handler(this)>
                <input type="hidden" name="generation" value=generation />
                <input type="hidden" name="index" value=index />
                <button type="submit" class="stop">
                    "Delete this image"
                </button>
                <p class="hint">"This can't be undone. Deleting the last image of a generation also deletes its prompt."</p>
            </form>
            <form method="post" action="/api/fn/delete_all" on:submit=handler(all)>
                <button type="submit" class="stop">
                    "Delete all my images"
                </button>
                <p class="hint">"Deletes every image, prompt and upload from this browser. This can't be undone."</p>
            </form>
        </details>
    }
    .erase()
}
