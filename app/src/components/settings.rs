//! Everything about a request but the prompt. On a small screen a sheet that the button beside the prompt opens.

use adire_protocol::Sampler;
use leptos::prelude::*;

use super::{
    adapters::Adapters,
    error::FieldProblem,
    field::{Lines, Menu},
    number::{Number, Range},
    piece::{IntoPiece, Piece},
    seed::Seed,
    size::Size,
};
use crate::state::Page;

/// The settings. A popover on small screens; the style sheet lays it out in place on large ones.
#[component]
pub(super) fn Settings() -> Piece {
    let page = Page::here();
    let (steps, guidance) = page.model.with_value(|model| {
        let steps = Range { min: 1.0, max: f64::from(model.limits.steps.min(50)), step: 1.0 };
        (steps, Range { min: 0.0, max: model.limits.guidance.min(20.0), step: 0.5 })
    });
    let samplers = Sampler::ALL.iter().map(|sampler| (sampler.name().to_owned(), sampler.label().to_owned()));
    let counts =
        (1..=page.model.with_value(|model| model.limits.count)).map(|n| (n.to_string(), n.to_string()));
    view! {
        <div class="settings" id="settings" popover="auto" role="group" aria-label="Settings">
            <Negative />
            <Adapters />
            <Size />
            <Number name="steps" label="Steps" value=page.form.steps range=steps />
            <Number name="guidance" label="Guidance" value=page.form.guidance range=guidance />
            <div class="pair">
                <div class="row">
                    <label for="field-sampler">"Sampler"</label>
                    <Menu field="sampler" value=page.form.sampler options=samplers.collect() />
                    <FieldProblem field="sampler" />
                </div>
                <div class="row">
                    <label for="field-count">"Pictures"</label>
                    <Menu field="count" value=page.form.count options=counts.collect() />
                    <FieldProblem field="count" />
                </div>
            </div>
            <Seed />
            <button type="button" class="sheet-close" popovertarget="settings" popovertargetaction="hide">
                "Done"
            </button>
        </div>
    }
    .into_piece()
}

#[component]
fn Negative() -> Piece {
    let form = Page::here().form;
    let open = || form.negative_prompt.with(|text| !text.is_empty()) || form.is_wrong("negative_prompt");
    view! {
        <details class="negative" open=untrack(open)>
            <summary>"Negative prompt"</summary>
            <Lines
                field="negative_prompt"
                value=form.negative_prompt
                rows="2"
                placeholder="What it should not show"
                label="Negative prompt"
            />
            <FieldProblem field="negative_prompt" />
        </details>
    }
    .into_piece()
}
