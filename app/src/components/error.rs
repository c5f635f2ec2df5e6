//! What is wrong with one field, beside it.

use leptos::prelude::*;

use crate::{form::id_of, state::Page};

/// The sentence under a field; nothing while the field is right.
#[component]
pub(crate) fn FieldProblem(#[prop(into)] field: String) -> impl IntoView {
    let page = Page::here();
    let id = problem_id(&field);
    move || {
        let id = id.clone();
        page.form.error(&field).map(|message| view! { <p class="field-problem" id=id>{message}</p> })
    }
}

/// The id that `aria-describedby` points to.
pub(crate) fn problem_id(field: &str) -> String {
    format!("{}-problem", id_of(field))
}

/// `aria-invalid` and `aria-describedby` for a field.
pub(crate) fn wrong(
    field: &'static str,
) -> (impl Fn() -> Option<&'static str> + Copy, impl Fn() -> Option<String> + Copy) {
    let page = Page::here();
    let is_wrong = move || page.form.error(field).is_some();
    (move || is_wrong().then_some("true"), move || is_wrong().then(|| problem_id(field)))
}
