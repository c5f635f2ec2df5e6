//! Example prompts.

use leptos::prelude::*;

use super::link::Link;
use crate::{
    form::{self, FormValues},
    state::Page,
    thin::erased::{EraseView, ErasedView},
};

/// Example prompts that fit on the canvas.
const MAX_ON_CANVAS: usize = 5;

/// The canvas before the first image: what to do, and example prompts.
#[component]
pub(super) fn Empty() -> ErasedView {
    let page = Page::here();
    let prompts = page.model.with_value(|model| model.example_prompts.clone());
    let words = if prompts.is_empty() {
        "Write a prompt, then press Generate."
    } else {
        "Write a prompt or try one of these."
    };
    let first = page.workspace.history.with_untracked(Vec::is_empty);
    let title = if first { "Your images appear here" } else { "Your next image appears here" };
    let prompts = prompts.into_iter().take(MAX_ON_CANVAS);
    let prompts = prompts.map(|example| view! { <Example prompt=example.prompt class="example" /> });
    view! {
        <div class="empty">
            <h2>{title}</h2>
            <p>{words}</p>
            <ul>{prompts.collect::<Vec<_>>()}</ul>
        </div>
    }
    .erase()
}

/// The same prompts beside the form.
#[component]
pub(super) fn ExampleChips() -> ErasedView {
    let prompts = Page::here().model.with_value(|model| model.example_prompts.clone());
    if prompts.is_empty() {
        return ().erase();
    }
    let prompts = prompts.into_iter().map(|example| view! { <Example prompt=example.prompt class="chip" /> });
    view! {
        <ul class="examples" aria-label="Example prompts">
            {prompts.collect::<Vec<_>>()}
        </ul>
    }
    .erase()
}

/// A link that puts a prompt into the form.
#[component]
fn Example(prompt: String, class: &'static str) -> ErasedView {
    let page = Page::here();
    let values = FormValues { prompt: prompt.clone(), ..FormValues::default() };
    let address = format!("/?{}", form::encode(&values));
    let take = Box::new(move || page.take_example(&values.prompt));
    view! {
        <li>
            <Link href=address class=class title=prompt.clone() action=take>
                {prompt}
            </Link>
        </li>
    }
    .erase()
}
