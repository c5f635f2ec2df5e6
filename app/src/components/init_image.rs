//! An image to start from: chosen, dropped or made here; how much of it changes, and where.

use leptos::{
    ev::{Event, MouseEvent},
    prelude::*,
};

use super::{
    erased::{EraseView, ErasedView},
    error::FieldProblem,
    field::Menu,
    file::FileButton,
    number::{Number, Range},
    reactive::{dyn_flag, dyn_text, dyn_view, handler},
};
use crate::{
    browser,
    form::{INIT_IMAGE_FILE, MASK_FILE},
    state::{Page, UploadRole},
};

/// What the server reads.
const IMAGE_TYPES: &str = "image/png,image/jpeg,image/webp";
/// A module of its own, loaded when someone paints.
const MASK_EDITOR: &str = "/mask.js";

/// The folded section.
#[component]
pub(super) fn InitImage() -> ErasedView {
    let page = Page::here();
    let form = page.form;
    let there = Memo::new(move |_| form.init_image.with(|hash| is_hash(hash)));
    let masked = Memo::new(move |_| form.mask.with(|hash| is_hash(hash)));
    let wrong = || ["init_image", "mask", "denoising_strength"].into_iter().any(|field| form.is_wrong(field));
    let open = untrack(|| there.get() || wrong());
    let choose = Signal::derive(move || {
        let words = match (page.workspace.uploading.get(), there.get()) {
            (true, _) => "Uploading…",
            (false, true) => "Another picture…",
            (false, false) => "Choose a picture…",
        };
        words.to_owned()
    });
    let mask = Signal::derive(move || {
        if masked.get() { "Another mask file…".to_owned() } else { "Choose a mask file…".to_owned() }
    });
    view! {
        <details class="fold start" open=open>
            <summary>"Start from a picture"</summary>
            <HiddenField name="init_image" value=form.init_image />
            <HiddenField name="mask" value=form.mask />
            {dyn_view(move || there.get().then(|| view! { <Thumbnail masked=masked /> }))}
            <div class="start-files">
                <FileButton
                    field="init_image"
                    name=INIT_IMAGE_FILE
                    accept=IMAGE_TYPES
                    class="button file-button"
                    label=choose
                    chosen=Box::new(move |file| page.upload_as(file, UploadRole::InitImage))
                />
                <span class="in-time" hidden=dyn_flag(move || !there.get())>
                    <FileButton
                        field="mask"
                        name=MASK_FILE
                        accept=IMAGE_TYPES
                        class="button file-button"
                        title="White is made anew, black stays"
                        label=mask
                        chosen=Box::new(move |file| page.upload_as(file, UploadRole::Mask))
                    />
                </span>
            </div>
            <FieldProblem field="init_image" />
            <FieldProblem field="mask" />
            <div class="start-settings in-time" hidden=dyn_flag(move || !there.get())>
                <Number
                    name="denoising_strength"
                    label="Strength"
                    value=form.denoising_strength
                    range=Range { min: 0.05, max: 1.0, step: 0.05 }
                />
                <div class="row in-time" hidden=dyn_flag(move || !masked.get())>
                    <label for="field-keep_unmasked">"Outside the mask"</label>
                    <Menu
                        field="keep_unmasked"
                        value=form.keep_unmasked
                        options=vec![
                            (String::new(), "stays exactly as it is".to_owned()),
                            ("false".to_owned(), "may soften towards the new part".to_owned()),
                        ]
                    />
                </div>
            </div>
        </details>
    }
    .erase()
}

/// The image with its mask over it, and what can be done with both.
#[component]
fn Thumbnail(masked: Memo<bool>) -> ErasedView {
    let page = Page::here();
    let form = page.form;
    let source = move || form.init_image.with(|hash| address(hash));
    let veil = move || form.mask.with(|hash| format!("mask-image:url({})", address(hash)));
    let painting = move || if masked.get() { "Edit the mask" } else { "Paint a mask" };
    let unmask = move || {
        masked.get().then(|| {
            view! {
                <button
                    type="button"
                    class="link live-only"
                    id="remove-mask"
                    on:click=handler(move |_: MouseEvent| page.forget_mask())
                >
                    "Remove the mask"
                </button>
            }
        })
    };
    view! {
        <div class="init-image">
            <span class="start-thumb">
                <img id="init-image" src=dyn_text(source) alt="The picture to start from" />
                {dyn_view(move || masked.get().then(|| view! { <span class="veil" style=dyn_text(veil)></span> }))}
            </span>
            <div>
                <button
                    type="button"
                    class="button live-only"
                    id="paint-mask"
                    on:click=handler(|_: MouseEvent| browser::load_module(MASK_EDITOR))
                >
                    {dyn_text(move || painting().to_owned())}
                </button>
                {dyn_view(unmask)}
                <button
                    type="button"
                    class="link live-only"
                    id="remove-image"
                    on:click=handler(move |_: MouseEvent| page.forget_init_image())
                >
                    "Remove the picture"
                </button>
            </div>
        </div>
    }
    .erase()
}

/// A value that no one types; the mask editor sets it like a person would.
#[component]
fn HiddenField(name: &'static str, value: RwSignal<String>) -> ErasedView {
    let page = Page::here();
    let changed = move |event: Event| {
        value.set(event_target_value(&event));
        page.remember();
    };
    view! {
        <input type="hidden" name=name value=dyn_text(move || value.get()) autocomplete="off" on:input=handler(changed) />
    }
    .erase()
}

/// An address may hold anything; only this is an image's name.
fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Where an image is.
pub(super) fn address(hash: &str) -> String {
    format!("/api/v1/images/{hash}.png")
}
