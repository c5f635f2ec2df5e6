//! Buttons that choose a file.

use leptos::{ev::Event, prelude::*};
use wasm_bindgen::JsCast;
use web_sys::{File, HtmlInputElement};

use super::error::problem_id;
use crate::{
    form::id_of,
    state::Page,
    thin::{
        erased::{EraseView, ErasedView},
        reactive::{dyn_attr, dyn_text, handler},
    },
};

/// A label that looks like a button and holds the file field. Without a script the field itself is shown, and its file
/// is sent with the form.
#[component]
pub(super) fn FileButton(
    /// The field whose errors describe this button.
    field: &'static str,
    /// Name of the file field in a plain form; empty where it is not sent.
    name: &'static str,
    /// Accepted media types.
    accept: &'static str,
    class: &'static str,
    #[prop(optional)] title: &'static str,
    #[prop(into)] label: Signal<String>,
    chosen: Box<dyn Fn(File)>,
) -> ErasedView {
    let page = Page::here();
    let choose = move |event: Event| {
        let Some(input) = event.target().and_then(|target| target.dyn_into::<HtmlInputElement>().ok()) else {
            return;
        };
        if let Some(file) = input.files().and_then(|files| files.get(0)) {
            chosen(file);
        }
        // The same file can be chosen again.
        input.set_value("");
    };
    let problem = move || page.form.is_wrong(field).then(|| problem_id(field));
    view! {
        <label class=class title=title>
            <span>{dyn_text(move || label.get())}</span>
            <input
                type="file"
                id=id_of(field)
                name=name
                accept=accept
                class="file"
                aria-describedby=dyn_attr(problem)
                on:change=handler(choose)
            />
        </label>
    }
    .erase()
}
