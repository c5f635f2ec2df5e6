//! Everything about a request but the prompt. On a small screen a sheet that the button beside the prompt opens.

use adire_protocol::Sampler;
use leptos::{
    html::{Select, Textarea},
    prelude::*,
};

use super::{
    adapters::Adapters,
    error::{FieldProblem, wrong},
    number::Number,
    prompt::initial_text,
    seed::Seed,
    size::Size,
};
use crate::{browser, state::Page};

/// The settings. A popover on small screens; the style sheet lays it out in place on large ones.
#[component]
pub(crate) fn Settings() -> impl IntoView {
    let page = Page::here();
    let (most_steps, most_guidance) = page
        .model
        .with_value(|model| (f64::from(model.limits.steps.min(50)), model.limits.guidance.min(20.0)));
    view! {
        <div class="settings" id="settings" popover="auto" role="group" aria-label="Settings">
            <Negative />
            <Adapters />
            <Size />
            <Number name="steps" label="Steps" text=page.form.steps min=1.0 max=most_steps step=1.0 />
            <Number
                name="guidance"
                label="Guidance"
                text=page.form.guidance
                min=0.0
                max=most_guidance
                step=0.5
            />
            <div class="pair">
                <SamplerMenu />
                <Count />
            </div>
            <Seed />
            <button type="button" class="sheet-close" popovertarget="settings" popovertargetaction="hide">
                "Done"
            </button>
        </div>
    }
}

#[component]
fn Negative() -> impl IntoView {
    let text = Page::here().form.negative_prompt;
    let field = NodeRef::<Textarea>::new();
    browser::tie(field, text);
    let (invalid, described) = wrong("negative_prompt");
    let open = move || text.with(|text| !text.is_empty()) || invalid().is_some();
    view! {
        <details class="negative" open=untrack(open)>
            <summary>"Negative prompt"</summary>
            <textarea
                id="field-negative_prompt"
                name="negative_prompt"
                rows="2"
                placeholder="What it should not show"
                aria-label="Negative prompt"
                aria-invalid=invalid
                aria-describedby=described
                node_ref=field
                on:input=move |event| text.set(event_target_value(&event))
            >
                {initial_text(&text.get_untracked()).into_owned()}
            </textarea>
            <FieldProblem field="negative_prompt" />
        </details>
    }
}

#[component]
fn SamplerMenu() -> impl IntoView {
    let text = Page::here().form.sampler;
    let menu = NodeRef::<Select>::new();
    browser::tie(menu, text);
    let (invalid, described) = wrong("sampler");
    let options = Sampler::ALL
        .into_iter()
        .map(|sampler| {
            let selected = text.with_untracked(|text| text == sampler.name());
            view! { <option value=sampler.name() selected=selected>{sampler.label()}</option> }
        })
        .collect::<Vec<_>>();
    view! {
        <div class="row">
            <label for="field-sampler">"Sampler"</label>
            <select
                id="field-sampler"
                name="sampler"
                autocomplete="off"
                aria-invalid=invalid
                aria-describedby=described
                node_ref=menu
                on:change=move |event| text.set(event_target_value(&event))
            >
                {options}
            </select>
            <FieldProblem field="sampler" />
        </div>
    }
}

#[component]
fn Count() -> impl IntoView {
    let page = Page::here();
    let text = page.form.count;
    let menu = NodeRef::<Select>::new();
    browser::tie(menu, text);
    let (invalid, described) = wrong("count");
    let options = (1..=page.model.with_value(|model| model.limits.count))
        .map(|count| {
            let value = count.to_string();
            let selected = text.with_untracked(|text| *text == value);
            view! { <option value=value selected=selected>{count}</option> }
        })
        .collect::<Vec<_>>();
    view! {
        <div class="row narrow">
            <label for="field-count">"Pictures"</label>
            <select
                id="field-count"
                name="count"
                autocomplete="off"
                aria-invalid=invalid
                aria-describedby=described
                node_ref=menu
                on:change=move |event| text.set(event_target_value(&event))
            >
                {options}
            </select>
            <FieldProblem field="count" />
        </div>
    }
}
