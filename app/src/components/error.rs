//! What is wrong with one field, beside it.

use leptos::prelude::*;

use super::{
    kinds::part,
    piece::{IntoPiece, Piece},
};
use crate::{form::id_of, state::Page};

/// The sentence under a field; nothing while the field is right.
#[component]
pub(super) fn FieldProblem(
    /// The field's name in a request, like `adapters[1].strength`.
    #[prop(into)]
    field: Signal<String>,
) -> Piece {
    let page = Page::here();
    part(move || {
        let field = field.get();
        page.form.error(&field).map(|message| {
            view! {
                <p class="field-problem" id=problem_id(&field)>
                    {message}
                </p>
            }
        })
    })
    .into_piece()
}

/// The id that `aria-describedby` points to.
pub(super) fn problem_id(field: &str) -> String {
    format!("{}-problem", id_of(field))
}
