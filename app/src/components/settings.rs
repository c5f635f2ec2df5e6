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
    let parameters = || FIELDS.iter().filter(|field| !is_elsewhere(field));
    let sliders: Vec<_> = parameters().map(|field| view! { <Parameter field=field /> }).collect();
    let menus = parameters()
        .filter(|field| field.control == Control::Menu)
        .map(|field| view! { <Choice field=field /> });
    let mut pairs = Vec::new();
    let mut menus = menus.collect::<Vec<_>>().into_iter();
    while let Some(first) = menus.next() {
        pairs.push(view! { <div class="pair">{first} {menus.next()}</div> });
    }
    view! {
        <div class="settings" id="settings" popover="auto" role="group" aria-label="Settings">
            <Adapters />
            <Seed />
            <Negative />
            <InitImage />
            <Size />
            {sliders}
            {pairs}
            <Hires />
            <button type="button" class="sheet-close" popovertarget="settings" popovertargetaction="hide">
                "Done"
            </button>
        </div>
    }
    .erase()
}

/// Whether a parameter belongs to the init image or hires fix, which have sections of their own.
fn is_elsewhere(field: &Field) -> bool {
    field.name == "denoising_strength" || field.name.starts_with("hires.")
}

/// A menu of the values that a parameter can have.
#[component]
fn Choice(field: &'static Field) -> ErasedView {
    let page = Page::here();
    let Some((name, value)) = page.form.of_field(field) else { return ().erase() };
    let named = |name: &str, label: &str| (name.to_owned(), label.to_owned());
    let options: Vec<_> = match field.name {
        "sampler" => Sampler::ALL.iter().map(|sampler| named(sampler.name(), sampler.label())).collect(),
        "schedule" => {
            let all = Schedule::ALL.iter().map(|schedule| named(schedule.name(), schedule.label()));
            [named(AUTOMATIC, "Automatic")].into_iter().chain(all).collect()
        }
        "rng" => Rng::ALL.iter().map(|rng| named(rng.name(), rng.label())).collect(),
        _ => {
            let range = page.model.with_value(|model| (field.range)(&model.limits));
            (range.min as u32..=range.max as u32).map(|n| (n.to_string(), n.to_string())).collect()
        }
    };
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
    browser::count_tokens("negative_prompt", form.negative_prompt, move || form.adapter_names());
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
