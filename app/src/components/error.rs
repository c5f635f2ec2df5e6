//! The error message of one field, below it.

use leptos::prelude::*;

use crate::{
    form::id_of,
    state::Page,
    thin::{
        erased::{EraseView, ErasedView},
        reactive::dyn_view,
    },
};

/// The message under a field; empty while the field is valid.
#[component]
pub(super) fn FieldProblem(
    /// The field's name in a request, like `adapters[1].strength`.
    #[prop(into)]
    field: Signal<String>,
) -> ErasedView {
    let page = Page::here();
    dyn_view(move || {
        let field = field.get();
        page.form.error(&field).map(|message| {
            view! {
                <p class="field-problem" id=problem_id(&field)>
                    {message}
                </p>
            }
        })
    })
    .erase()
}

/// The id that `aria-describedby` points to.
pub(super) fn problem_id(field: &str) -> String {
    format!("{}-problem", id_of(field))
}
