//! The prompt.

use std::borrow::Cow;

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
                {initial_text(&text.get_untracked()).into_owned()}
            </textarea>
            <FieldProblem field="prompt" />
            <ExampleChips />
        </div>
    }
}

/// What goes between the tags of a `<textarea>`. Leptos writes that out as it is, so the server must escape it;
/// the line break in front is the one that HTML drops there.
pub(super) fn initial_text(text: &str) -> Cow<'_, str> {
    if cfg!(feature = "ssr") { Cow::Owned(escaped(text)) } else { Cow::Borrowed(text) }
}

fn escaped(text: &str) -> String {
    format!("\n{}", text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_prompt_cannot_leave_its_field() {
        let written = escaped("a </textarea><script>alert(1)</script> &lt;");
        assert_eq!(written, "\na &lt;/textarea&gt;&lt;script&gt;alert(1)&lt;/script&gt; &amp;lt;");
    }
}
