//! A number: a text field with validation, and a slider for the usual range.

use adire_protocol::{
    decimal::{self, Decimal},
    fields::{Control, Field},
};
use leptos::{ev::Event, html::Input, prelude::*};

use super::{error::FieldProblem, field::Line};
use crate::{
    form::id_of,
    state::Page,
    thin::{
        erased::{EraseView, ErasedView},
        reactive::handler,
    },
};

/// The number of a parameter from the table of fields.
#[component]
pub(super) fn Parameter(
    field: &'static Field,
    /// What an empty field means.
    #[prop(optional)]
    placeholder: &'static str,
) -> ErasedView {
    let page = Page::here();
    let (Control::Slider { ends: (min, max), step }, Some((name, value))) =
        (field.control, page.form.of_field(field))
    else {
        return ().erase();
    };
    let most = page.model.with_value(|model| (field.range)(&model.limits).max);
    let range = Range { min, max: max.min(most), step };
    view! { <Number name=name label=field.label value=value range=range placeholder=placeholder /> }.erase()
}

/// Range and step of a slider. The field beside it accepts values outside the range.
#[derive(Clone, Copy)]
pub(super) struct Range {
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) step: f64,
}

impl Range {
    /// The range, or −`widest` to `widest` where `number` lies outside it.
    fn around(self, number: f64, widest: f64) -> (f64, f64) {
        let inside = (self.min..=self.max).contains(&number);
        if inside || widest <= self.max { (self.min, self.max) } else { (-widest, widest) }
    }
}

/// A labelled number with a slider.
#[component]
fn Number(
    /// Name of the field in the form.
    name: &'static str,
    label: &'static str,
    value: RwSignal<String>,
    range: Range,
    placeholder: &'static str,
) -> ErasedView {
    let placeholder = Signal::stored(placeholder.to_owned());
    view! {
        <div class="number">
            <label for=id_of(name)>{label}</label>
            <Slider label=label value=value range=range />
            <Line field=name value=value keyboard="decimal" class="count" placeholder=placeholder />
            <FieldProblem field=name />
        </div>
    }
    .erase()
}

/// A slider bound to the same text. Not a form field; hidden without a script.
#[component]
pub(super) fn Slider(
    #[prop(into)] label: String,
    value: RwSignal<String>,
    range: Range,
    /// Both ends move out to ± this once the value lies beyond them; 0 keeps the range.
    #[prop(optional)]
    widest: f64,
) -> ErasedView {
    let node = NodeRef::<Input>::new();
    Effect::new(move || {
        // Unlike the text, the slider can only hold a number in its range.
        let number = value.with(|text| decimal::read(&text.trim().replace(',', ".")));
        if let (Some(slider), Some(number)) = (node.get(), number) {
            let (min, max) = range.around(number, widest);
            slider.set_min(&Decimal(min).to_string());
            slider.set_max(&Decimal(max).to_string());
            slider.set_value(&Decimal(number).to_string());
        }
    });
    let number = value.with_untracked(|text| decimal::read(text.trim()).unwrap_or_default());
    let (min, max) = range.around(number, widest);
    view! {
        <input
            type="range"
            class="live-only"
            autocomplete="off"
            aria-label=format!("{label}, slider")
            min=Decimal(min).to_string()
            max=Decimal(max).to_string()
            step=Decimal(range.step).to_string()
            value=value.get_untracked()
            node_ref=node
            on:input=handler(move |event: Event| value.set(event_target_value(&event)))
        />
    }
    .erase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slider_widens_for_values_outside_its_range() {
        let usual = Range { min: -2.0, max: 2.0, step: 0.05 };
        for number in [-2.0, 0.0, 2.0] {
            assert_eq!(usual.around(number, 5.0), (-2.0, 2.0));
        }
        for number in [-5.0, 2.05, 4.0, 99.0] {
            assert_eq!(usual.around(number, 5.0), (-5.0, 5.0));
        }
        assert_eq!(usual.around(4.0, 0.0), (-2.0, 2.0), "never");
        assert_eq!(usual.around(4.0, 1.5), (-2.0, 2.0), "a lower limit");
    }
}
