//! The prompt.

use leptos::{html::Textarea, prelude::*};

use super::{
    empty::ExampleChips,
    error::{FieldProblem, wrong},
    open::OpenPicture,
};
use crate::{browser, state::Page};

/// The text that says what the picture shows; grows with what is typed.
#[component]
pub(crate) fn Prompt() -> impl IntoView {
    let text = Page::here().form.prompt;
    let field = NodeRef::<Textarea>::new();
    browser::tie(field, text);
    let (invalid, described) = wrong("prompt");
    view! {
        <div class="prompt">
            <div class="label-row">
                <label for="field-prompt">"Prompt"</label>
                <OpenPicture />
            </div>
            <textarea
                id="field-prompt"
                name="prompt"
                rows="3"
                required
                placeholder="What should the picture show?"
                aria-invalid=invalid
                aria-describedby=described
                node_ref=field
                on:input=move |event| text.set(event_target_value(&event))
            >
                {text.get_untracked()}
            </textarea>
            <FieldProblem field="prompt" />
            <ExampleChips />
        </div>
    }
}
