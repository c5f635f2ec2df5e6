//! The prompt.

use leptos::prelude::*;

use super::{
    empty::ExampleChips,
    error::FieldProblem,
    field::Lines,
    open::OpenPicture,
    piece::{IntoPiece, Piece},
};
use crate::{browser, state::Page};

/// The text that says what the picture shows, and where it can come from.
#[component]
pub(super) fn Prompt() -> Piece {
    let form = Page::here().form;
    browser::count_tokens("prompt", form.prompt);
    view! {
        <div class="prompt">
            <div class="label-row">
                <label for="field-prompt">"Prompt"</label>
                <small class="tokens" id="tokens-prompt" title="Tokens"></small>
                <OpenPicture />
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
