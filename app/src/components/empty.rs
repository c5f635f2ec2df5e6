//! Prompts to start from.

use leptos::prelude::*;

use crate::{
    form::{self, FormValues},
    state::Page,
};

/// The canvas before the first picture: what to do, and prompts that work.
#[component]
pub(crate) fn Empty() -> impl IntoView {
    let page = Page::here();
    let prompts = page.model.with_value(|model| model.example_prompts.clone());
    let words = if prompts.is_empty() {
        "Write what it should show, then press the button."
    } else {
        "Write what it should show, or start from one of these."
    };
    let title = move || {
        let first = page.stage.history.with(Vec::is_empty);
        if first { "Your first picture appears here" } else { "The next picture appears here" }
    };
    let prompts = prompts.into_iter().take(5).map(|example| {
        view! {
            <li>
                <Example prompt=example.prompt class="example" />
            </li>
        }
    });
    view! {
        <div class="empty">
            <h2>{title}</h2>
            <p>{words}</p>
            <ul>{prompts.collect::<Vec<_>>()}</ul>
        </div>
    }
}

/// The same prompts beside the form.
#[component]
pub(crate) fn ExampleChips() -> impl IntoView {
    let page = Page::here();
    let prompts = page.model.with_value(|model| model.example_prompts.clone());
    if prompts.is_empty() {
        return ().into_any();
    }
    let prompts = prompts.into_iter().map(|example| {
        view! {
            <li>
                <Example prompt=example.prompt class="chip" />
            </li>
        }
    });
    view! {
        <ul class="examples" aria-label="Example prompts">
            {prompts.collect::<Vec<_>>()}
        </ul>
    }
    .into_any()
}

/// A link that puts a prompt into the form, with or without a script.
#[component]
fn Example(prompt: String, class: &'static str) -> impl IntoView {
    let page = Page::here();
    let values = FormValues { prompt: prompt.clone(), ..FormValues::default() };
    let address = format!("/?{}", form::encode(&values));
    let title = prompt.clone();
    view! {
        <a
            class=class
            href=address
            title=title
            on:click=move |event| {
                event.prevent_default();
                page.take_over(&values, "The prompt is in the form.");
            }
        >
            {prompt}
        </a>
    }
}
