//! The prompt.

use leptos::prelude::*;

use super::{
    empty::ExampleChips,
    error::FieldProblem,
    field::Lines,
    open::OpenPicture,
    piece::{IntoPiece, Piece},
};
use crate::state::Page;

/// The text that says what the picture shows, and where it can come from.
#[component]
pub(super) fn Prompt() -> Piece {
    view! {
        <div class="prompt">
            <div class="label-row">
                <label for="field-prompt">"Prompt"</label>
                <OpenPicture />
            </div>
            <Lines
                field="prompt"
                value=Page::here().form.prompt
                rows="3"
                placeholder="What should the picture show?"
            />
            <FieldProblem field="prompt" />
            <ExampleChips />
        </div>
    }
    .into_piece()
}
