//! Hires fix: a second pass at a higher resolution.

use adire_protocol::HiresUpscaler;
use leptos::prelude::*;

use super::{
    error::FieldProblem,
    field::Menu,
    number::{Number, Range},
};
use crate::{
    state::Page,
    thin::{
        erased::{EraseView, ErasedView},
        reactive::dyn_flag,
    },
};

/// The folded section. Hidden while the form has an init image, unless hires fix is on.
#[component]
pub(super) fn Hires() -> ErasedView {
    let page = Page::here();
    let form = page.form;
    let off = Memo::new(move |_| form.hires.with(String::is_empty));
    let has_init_image = move || form.init_image.with(|hash| !hash.is_empty()) && off.get();
    let steps = f64::from(page.model.with_value(|model| model.limits.steps.min(50)));
    let mut kinds = vec![(String::new(), "Off".to_owned())];
    kinds.extend([HiresUpscaler::Latent, HiresUpscaler::Image].map(|kind| {
        let what = match kind {
            HiresUpscaler::Latent => "bilinear, on latents",
            HiresUpscaler::Image => "on the image",
        };
        (kind.name().to_owned(), format!("{}: {what}", kind.label()))
    }));
    view! {
        <details class="fold" open=!off.get_untracked() hidden=dyn_flag(has_init_image)>
            <summary>"Hires fix"</summary>
            <div class="row">
                <label for="field-hires">"Upscaler"</label>
                <Menu field="hires" value=form.hires options=kinds />
                <FieldProblem field="hires" />
            </div>
            <div class="start-settings in-time" hidden=dyn_flag(move || off.get())>
                <Number
                    name="hires_scale"
                    label="Scale"
                    value=form.hires_scale
                    range=Range { min: 1.25, max: 4.0, step: 0.25 }
                />
                <Number
                    name="hires_strength"
                    label="Denoising strength"
                    value=form.hires_strength
                    range=Range { min: 0.05, max: 1.0, step: 0.05 }
                />
                <Number
                    name="hires_steps"
                    label="Steps"
                    value=form.hires_steps
                    range=Range { min: 1.0, max: steps, step: 1.0 }
                    placeholder="same as base pass"
                />
            </div>
        </details>
    }
    .erase()
}
