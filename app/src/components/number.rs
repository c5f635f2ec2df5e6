//! A number: a field that takes any text and says what is wrong with it, and a slider for the usual range.

use leptos::{ev::Event, html::Input, prelude::*};

use super::{
    error::FieldProblem,
    field::Line,
    kinds::on,
    piece::{IntoPiece, Piece},
};
use crate::form::id_of;

/// Where a slider begins and ends, and how fine it is. The field beside it takes more.
#[derive(Clone, Copy)]
pub(super) struct Range {
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) step: f64,
}

/// A labelled number with a slider.
#[component]
pub(super) fn Number(
    /// Name of the field in the request.
    name: &'static str,
    label: &'static str,
    value: RwSignal<String>,
    range: Range,
    /// What an empty field means.
    #[prop(optional)]
    placeholder: &'static str,
) -> Piece {
    let placeholder = Signal::stored(placeholder.to_owned());
    view! {
        <div class="number">
            <label for=id_of(name)>{label}</label>
            <Slider label=label value=value range=range />
            <Line field=name value=value keyboard="decimal" class="count" placeholder=placeholder />
            <FieldProblem field=name />
        </div>
    }
    .into_piece()
}

/// A slider on the same text. It is no form field of its own: without a script it does nothing and is not shown.
#[component]
pub(super) fn Slider(#[prop(into)] label: String, value: RwSignal<String>, range: Range) -> Piece {
    let node = NodeRef::<Input>::new();
    Effect::new(move || {
        // The slider cannot stand outside its range or on half a word; the text may.
        let number = value.with(|text| text.trim().replace(',', ".").parse::<f64>());
        if let (Some(slider), Ok(number)) = (node.get(), number) {
            slider.set_value(&number.to_string());
        }
    });
    view! {
        <input
            type="range"
            class="live-only"
            autocomplete="off"
            aria-label=format!("{label}, slider")
            min=range.min.to_string()
            max=range.max.to_string()
            step=range.step.to_string()
            value=value.get_untracked()
            node_ref=node
            on:input=on(move |event: Event| value.set(event_target_value(&event)))
        />
    }
    .into_piece()
}
