//! Every setting except the prompt. On a small screen a sheet that a button opens.

use adire_protocol::{
    Rng, Sampler, Schedule,
    fields::{Control, FIELDS, Field},
};
use leptos::prelude::*;

use super::{
    adapters::Adapters,
    error::FieldProblem,
    field::{Lines, Menu},
    hires::Hires,
    init_image::InitImage,
    number::Parameter,
    seed::Seed,
    size::Size,
    variation::Variation,
};
use crate::{
    browser,
    form::{AUTOMATIC, id_of},
    state::Page,
    thin::erased::{EraseView, ErasedView},
};

/// The settings. A popover on small screens; the style sheet lays it out in place on large ones.
#[component]
pub(super) fn Settings() -> ErasedView {
    // Loops are smaller than iterators, each of which is compiled for its closures.
    let (mut controls, mut menus) = (Vec::new(), Vec::new());
    for field in FIELDS.iter().filter(|field| !is_elsewhere(field)) {
        match field.control {
            Control::Menu => menus.push(view! { <Choice field=field /> }.into_inner()),
            _ => controls.push(view! { <Parameter field=field /> }.into_inner()),
        }
    }
    let mut menus = menus.into_iter();
    while let Some(first) = menus.next() {
        controls.push(view! { <div class="pair">{first} {menus.next()}</div> }.erase());
    }
    view! {
        <div class="settings" id="settings" popover="auto" role="group" aria-label="Settings">
            <Adapters />
            <Seed />
            <Variation />
            <Negative />
            <InitImage />
            <Size />
            {controls}
            <Hires />
            <button type="button" class="sheet-close" popovertarget="settings" popovertargetaction="hide">
                "Done"
            </button>
        </div>
    }
    .erase()
}

/// Whether a parameter belongs to a section of its own: init image, variation, hires fix.
fn is_elsewhere(field: &Field) -> bool {
    matches!(field.name, "denoising_strength" | "subseed_strength") || field.name.starts_with("hires.")
}

/// A menu of the values that a parameter can have.
#[component]
fn Choice(field: &'static Field) -> ErasedView {
    let page = Page::here();
    let Some((name, value)) = page.form.of_field(field) else { return ().erase() };
    let mut options = Vec::new();
    let mut add = |name: &str, label: &str| options.push((name.to_owned(), label.to_owned()));
    match field.name {
        "sampler" => {
            for sampler in Sampler::ALL {
                add(sampler.name(), sampler.label());
            }
        }
        "schedule" => {
            add(AUTOMATIC, "Automatic");
            for schedule in Schedule::ALL {
                add(schedule.name(), schedule.label());
            }
        }
        "per_line" => {
            add("", "One prompt");
            add("true", "A prompt each");
        }
        "rng" => {
            for rng in Rng::ALL {
                add(rng.name(), rng.label());
            }
        }
        _ => {
            let range = page.model.with_value(|model| (field.range)(&model.limits));
            for number in range.min as u32..=range.max as u32 {
                let number = number.to_string();
                add(&number, &number);
            }
        }
    }
    let title = (field.name == "rng").then_some("Random generator the seed is for; A1111 uses GPU");
    view! {
        <div class="row">
            <label for=id_of(name) title=title>
                {field.label}
            </label>
            <Menu field=name value=value options=options />
            <FieldProblem field=name />
        </div>
    }
    .erase()
}

#[component]
fn Negative() -> ErasedView {
    let form = Page::here().form;
    browser::count_tokens("negative_prompt", form.negative_prompt, Box::new(move || form.adapter_names()));
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
