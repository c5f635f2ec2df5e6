//! Variation: noise of another seed mixed into the seed's.

use adire_protocol::fields::Field;
use leptos::prelude::*;

use super::{error::FieldProblem, field::Line, number::Parameter};
use crate::{
    state::Page,
    thin::erased::{EraseView, ErasedView},
};

/// The folded section.
#[component]
pub(super) fn Variation() -> ErasedView {
    let form = Page::here().form;
    let open = || {
        let given = |text: RwSignal<String>| text.with(|text| !matches!(text.trim(), "" | "0"));
        given(form.subseed_strength) || form.is_wrong("subseed") || form.is_wrong("subseed_strength")
    };
    view! {
        <details class="fold" open=untrack(open)>
            <summary>"Variation"</summary>
            <div class="row">
                <label for="field-subseed">"Variation seed"</label>
                <Line
                    field="subseed"
                    value=form.subseed
                    keyboard="numeric"
                    placeholder=Signal::stored("Random".to_owned())
                />
                <FieldProblem field="subseed" />
            </div>
            {Field::of("subseed_strength").map(|field| view! { <Parameter field=field /> })}
        </details>
    }
    .erase()
}
