//! Hires fix: a second pass at a higher resolution.

use adire_protocol::{HiresUpscaler, fields::FIELDS};
use leptos::prelude::*;

use super::{error::FieldProblem, field::Menu, number::Parameter};
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
    let sliders = FIELDS.iter().filter(|field| field.name.starts_with("hires.")).map(|field| {
        let placeholder = if field.name == "hires.steps" { "same as base pass" } else { "" };
        view! { <Parameter field=field placeholder=placeholder /> }
    });
    let mut kinds = vec![(String::new(), "Off".to_owned())];
    kinds.extend(HiresUpscaler::ALL.map(|kind| {
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
                {sliders.collect::<Vec<_>>()}
            </div>
        </details>
    }
    .erase()
}
