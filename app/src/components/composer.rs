//! The form. Without a script it is a plain post; with one, the same values are sent without loading a page.

use leptos::{
    ev::{MouseEvent, SubmitEvent},
    prelude::*,
};

use super::{notice::Summary, prompt::Prompt, settings::Settings, submit::SubmitButton};
use crate::{
    form,
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
    // Before the script runs, the browser sends the fields there itself.
    let code = move |event: MouseEvent| {
        event.prevent_default();
        let query = form::encode(&untrack(|| page.form.values()));
        let _ = window().location().set_href(&format!("/code?{query}"));
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
            <button
                type="submit"
                class="link code-link"
                formmethod="get"
                formaction="/code"
                on:click=handler(code)
            >
                "Use it from code"
            </button>
        </form>
        <form id="cancel-form" method="post" action="/api/fn/cancel" hidden on:submit=handler(cancel)>
            <input type="hidden" name="id" value=dyn_text(id) />
        </form>
    }
    .erase()
}
