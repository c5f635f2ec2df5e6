//! The prompt.

use leptos::{ev::MouseEvent, prelude::*};

use super::{empty::ExampleChips, error::FieldProblem, field::Lines, file::FileButton};
use crate::{
    browser,
    state::Page,
    thin::{
        erased::{EraseView, ErasedView},
        reactive::{dyn_view, handler},
    },
};

/// The prompt with its token count, and the button that loads it from an image.
#[component]
pub(super) fn Prompt() -> ErasedView {
    let page = Page::here();
    let form = page.form;
    browser::count_tokens("prompt", form.prompt, Box::new(move || form.adapter_names()));
    view! {
        <div class="prompt">
            <div class="label-row">
                <label for="field-prompt">"Prompt"</label>
                <small class="tokens" id="tokens-prompt" title="Tokens"></small>
                <FileButton
                    field="parameters"
                    name=""
                    accept="image/png,image/jpeg,image/webp"
                    class="load-png live-only"
                    title="Load the parameters stored in an image; you can also drop one anywhere"
                    label=Signal::stored("Load from image…".to_owned())
                    chosen=Box::new(move |file| page.take_image(file))
                />
            </div>
            <Lines
                field="prompt"
                value=form.prompt
                rows="3"
                placeholder="Describe the image"
            />
            <FieldProblem field="prompt" />
            <Offer />
            {named("embeddings", "Embeddings", &page.embeddings.get_value(), "")}
            {named("wildcards", "Wildcards", &page.wildcards.get_value(), "__")}
            <ExampleChips />
        </div>
    }
    .erase()
}

/// Offers the adapter whose trigger word is in the prompt, while it is not selected.
#[component]
fn Offer() -> ErasedView {
    let page = Page::here();
    let offered = Memo::new(move |_| page.form.prompt.with(|prompt| page.called(prompt)));
    let add = move |_: MouseEvent| {
        if let Some(version) = offered.get_untracked() {
            page.form.switch_on(version.id());
            page.workspace.announcement.set(format!("Adapter {} selected.", version.name));
            // The button disappears; keyboard focus moves to the prompt.
            browser::focus_field("prompt");
        }
    };
    dyn_view(move || {
        offered.get().map(|version| {
            view! {
                <p class="hint offer">
                    {format!("“{}” is the trigger word of {}. ", version.trigger, version.name)}
                    <button type="button" class="link live-only" id="use-offered" on:click=handler(add)>
                        {format!("Use {} v{}", version.name, version.version)}
                    </button>
                </p>
            }
        })
    })
    .erase()
}

/// Words that mean something in prompts, where there are any. `mark` stands around each.
fn named(class: &'static str, label: &str, words: &[String], mark: &str) -> ErasedView {
    if words.is_empty() {
        return ().erase();
    }
    let words = words.join(&format!("{mark}, {mark}"));
    view! { <small class=class>{format!("{label}: {mark}{words}{mark}")}</small> }.erase()
}
