//! The prompt.

use leptos::prelude::*;

use super::{
    empty::ExampleChips,
    error::FieldProblem,
    field::Lines,
    file::FileButton,
    piece::{IntoPiece, Piece},
};
use crate::{browser, state::Page};

/// The text that says what the picture shows, and where it can come from.
#[component]
pub(super) fn Prompt() -> Piece {
    let page = Page::here();
    let form = page.form;
    browser::count_tokens("prompt", form.prompt);
    view! {
        <div class="prompt">
            <div class="label-row">
                <label for="field-prompt">"Prompt"</label>
                <small class="tokens" id="tokens-prompt" title="Tokens"></small>
                <FileButton
                    field="parameters"
                    name=""
                    accept="image/png,.png"
                    class="open-picture live-only"
                    title="Take the parameters out of a PNG; dropping one anywhere does the same"
                    label=Signal::stored("Read a PNG…".to_owned())
                    chosen=Box::new(move |file| page.take_picture(file))
                />
            </div>
            <Lines
                field="prompt"
                value=form.prompt
                rows="3"
                placeholder="What should the picture show?"
            />
            <FieldProblem field="prompt" />
            <ExampleChips />
        </div>
    }
    .into_piece()
}
