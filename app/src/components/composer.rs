//! The form. Without a script it is a plain post; with one, the same values are sent without loading a page.

use leptos::{ev::SubmitEvent, prelude::*};

use super::{notice::Summary, prompt::Prompt, settings::Settings, submit::SubmitButton};
use crate::{
    state::Page,
    thin::{
        erased::{EraseView, ErasedView},
        reactive::{dyn_text, handler},
    },
};

/// Prompt, settings, button.
#[component]
pub(crate) fn Composer() -> ErasedView {
    let page = Page::here();
    let id = move || {
        page.workspace.generation.with(|generation| {
            generation.as_ref().map(|generation| generation.id.clone()).unwrap_or_default()
        })
    };
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
            action="/generate"
            enctype="multipart/form-data"
            novalidate
            on:submit=handler(submit)
        >
            <Summary />
            <Prompt />
            <Settings />
            <SubmitButton />
        </form>
        <form id="cancel-form" method="post" action="/api/fn/cancel" hidden on:submit=handler(cancel)>
            <input type="hidden" name="id" value=dyn_text(id) />
        </form>
    }
    .erase()
}
