//! Every setting except the prompt. On a small screen a sheet that a button opens.

use adire_protocol::{Rng, Sampler, Schedule};
use leptos::prelude::*;

use super::{
    adapters::Adapters,
    error::FieldProblem,
    field::{Lines, Menu},
    hires::Hires,
    init_image::InitImage,
    number::{Number, Range},
    seed::Seed,
    size::Size,
};
use crate::{
    browser,
    form::AUTOMATIC,
    state::Page,
    thin::erased::{EraseView, ErasedView},
};

/// The settings. A popover on small screens; the style sheet lays it out in place on large ones.
#[component]
pub(super) fn Settings() -> ErasedView {
    let page = Page::here();
    let (steps, guidance, layers) = page.model.with_value(|model| {
        let steps = Range { min: 1.0, max: f64::from(model.limits.steps.min(50)), step: 1.0 };
        let layers = Range { min: 1.0, max: f64::from(model.limits.clip_skip), step: 1.0 };
        (steps, Range { min: 0.0, max: model.limits.guidance.min(20.0), step: 0.5 }, layers)
    });
    let samplers = Sampler::ALL.iter().map(|sampler| (sampler.name().to_owned(), sampler.label().to_owned()));
    let mut schedules = vec![(AUTOMATIC.to_owned(), "Automatic".to_owned())];
    schedules.extend(Schedule::ALL.map(|schedule| (schedule.name().to_owned(), schedule.label().to_owned())));
    let sources = Rng::ALL.iter().map(|rng| (rng.name().to_owned(), rng.label().to_owned()));
    let counts =
        (1..=page.model.with_value(|model| model.limits.count)).map(|n| (n.to_string(), n.to_string()));
    view! {
        <div class="settings" id="settings" popover="auto" role="group" aria-label="Settings">
            <Adapters />
            <Seed />
            <Negative />
            <InitImage />
            <Size />
            <Number name="steps" label="Steps" value=page.form.steps range=steps />
            <Number name="guidance" label="Guidance scale" value=page.form.guidance range=guidance />
            <Number name="clip_skip" label="Clip skip" value=page.form.clip_skip range=layers />
            <div class="pair">
                <div class="row">
                    <label for="field-sampler">"Sampler"</label>
                    <Menu field="sampler" value=page.form.sampler options=samplers.collect() />
                    <FieldProblem field="sampler" />
                </div>
                <div class="row">
                    <label for="field-schedule">"Schedule"</label>
                    <Menu field="schedule" value=page.form.schedule options=schedules />
                    <FieldProblem field="schedule" />
                </div>
            </div>
            <div class="pair">
                <div class="row">
                    <label for="field-count">"Images"</label>
                    <Menu field="count" value=page.form.count options=counts.collect() />
                    <FieldProblem field="count" />
                </div>
                <div class="row">
                    <label for="field-rng" title="Random generator the seed is for; A1111 uses GPU">
                        "Noise source"
                    </label>
                    <Menu field="rng" value=page.form.rng options=sources.collect() />
                    <FieldProblem field="rng" />
                </div>
            </div>
            <Hires />
            <button type="button" class="sheet-close" popovertarget="settings" popovertargetaction="hide">
                "Done"
            </button>
        </div>
    }
    .erase()
}

#[component]
fn Negative() -> ErasedView {
    let form = Page::here().form;
    browser::count_tokens("negative_prompt", form.negative_prompt);
    let open = || form.negative_prompt.with(|text| !text.is_empty()) || form.is_wrong("negative_prompt");
    view! {
        <details class="fold" open=untrack(open)>
            <summary>
                "Negative prompt"
                <small class="tokens" id="tokens-negative_prompt" title="Tokens"></small>
            </summary>
            <Lines
                field="negative_prompt"
                value=form.negative_prompt
                rows="2"
                placeholder="What to avoid"
                label="Negative prompt"
            />
            <FieldProblem field="negative_prompt" />
        </details>
    }
    .erase()
}
