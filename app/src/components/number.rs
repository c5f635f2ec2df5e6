//! A number: a field that takes any text and says what is wrong with it, and a slider for the usual range.

use leptos::{html::Input, prelude::*};

use super::error::{FieldProblem, problem_id};
use crate::{browser, form::id_of, state::Page};

/// A labelled number with a slider.
#[component]
pub(crate) fn Number(
    /// Name of the field in the request.
    name: &'static str,
    label: &'static str,
    text: RwSignal<String>,
    min: f64,
    /// End of the slider; the field takes more.
    max: f64,
    step: f64,
) -> impl IntoView {
    let page = Page::here();
    let (field, slider) = (NodeRef::<Input>::new(), NodeRef::<Input>::new());
    browser::tie(field, text);
    let is_wrong = move || page.form.error(name).is_some();
    view! {
        <div class="number">
            <label for=id_of(name)>{label}</label>
            <Slider label=label text=text min=min max=max step=step node_ref=slider />
            <input
                id=id_of(name)
                name=name
                type="text"
                inputmode="decimal"
                autocomplete="off"
                class="count"
                value=text.get_untracked()
                aria-invalid=move || is_wrong().then_some("true")
                aria-describedby=move || is_wrong().then(|| problem_id(name))
                node_ref=field
                on:input=move |event| text.set(event_target_value(&event))
            />
            <FieldProblem field=name />
        </div>
    }
}

/// A slider on the same text. It is no form field of its own: without a script it does nothing and is not shown.
#[component]
pub(crate) fn Slider(
    #[prop(into)] label: String,
    text: RwSignal<String>,
    min: f64,
    max: f64,
    step: f64,
    node_ref: NodeRef<Input>,
) -> impl IntoView {
    Effect::new(move || {
        // The slider cannot stand outside its range or on half a word; the text may.
        if let (Some(slider), Ok(value)) =
            (node_ref.get(), text.get().trim().replace(',', ".").parse::<f64>())
        {
            slider.set_value(&value.to_string());
        }
    });
    view! {
        <input
            type="range"
            class="live-only"
            autocomplete="off"
            aria-label=format!("{label}, slider")
            min=min
            max=max
            step=step
            value=text.get_untracked()
            node_ref=node_ref
            on:input=move |event| text.set(event_target_value(&event))
        />
    }
}
