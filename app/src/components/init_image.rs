//! The init image: uploaded, dropped or generated here; with its denoising strength and its mask.

use adire_protocol::{fields::Field, is_hash};
use leptos::{
    ev::{Event, MouseEvent},
    prelude::*,
};

use super::{error::FieldProblem, field::Menu, file::FileButton, number::Parameter};
use crate::{
    browser,
    form::{INIT_IMAGE_FILE, MASK_FILE},
    state::{Page, UploadRole},
    thin::{
        erased::{EraseView, ErasedView},
        reactive::{dyn_flag, dyn_text, dyn_view, handler},
    },
};

/// Formats that the server accepts.
const IMAGE_TYPES: &str = "image/png,image/jpeg,image/webp";
/// A separate module, loaded when the editor is opened.
const MASK_EDITOR: &str = "/mask.js";

/// The folded section.
#[component]
pub(super) fn InitImage() -> ErasedView {
    let page = Page::here();
    let form = page.form;
    let has_image = Memo::new(move |_| form.init_image.with(|hash| is_hash(hash)));
    let has_mask = Memo::new(move |_| form.mask.with(|hash| is_hash(hash)));
    let has_error =
        || ["init_image", "mask", "denoising_strength"].into_iter().any(|field| form.is_wrong(field));
    let open = untrack(|| has_image.get() || has_error());
    let upload_label = Signal::derive(move || {
        let label = match (page.workspace.uploading.get(), has_image.get()) {
            (true, _) => "Uploading…",
            (false, true) => "Replace image…",
            (false, false) => "Upload image…",
        };
        label.to_owned()
    });
    let mask_label = Signal::derive(move || {
        if has_mask.get() { "Replace mask…".to_owned() } else { "Upload mask…".to_owned() }
    });
    view! {
        <details class="fold start" open=open>
            <summary>"Init image"</summary>
            <HiddenField name="init_image" value=form.init_image />
            <HiddenField name="mask" value=form.mask />
            {dyn_view(move || has_image.get().then(|| view! { <Thumbnail has_mask=has_mask /> }))}
            <div class="start-files">
                <FileButton
                    field="init_image"
                    name=INIT_IMAGE_FILE
                    accept=IMAGE_TYPES
                    class="button file-button"
                    label=upload_label
                    chosen=Box::new(move |file| page.upload_as(file, UploadRole::InitImage))
                />
                <span class="in-time" hidden=dyn_flag(move || !has_image.get())>
                    <FileButton
                        field="mask"
                        name=MASK_FILE
                        accept=IMAGE_TYPES
                        class="button file-button"
                        title="White areas are regenerated, black areas are kept"
                        label=mask_label
                        chosen=Box::new(move |file| page.upload_as(file, UploadRole::Mask))
                    />
                </span>
            </div>
            <FieldProblem field="init_image" />
            <FieldProblem field="mask" />
            <div class="start-settings in-time" hidden=dyn_flag(move || !has_image.get())>
                {Field::of("denoising_strength").map(|field| view! { <Parameter field=field /> })}
                <div class="row in-time" hidden=dyn_flag(move || !has_mask.get())>
                    <label for="field-keep_unmasked">"Unmasked area"</label>
                    <Menu
                        field="keep_unmasked"
                        value=form.keep_unmasked
                        options=vec![
                            (String::new(), "Keep exactly".to_owned()),
                            ("false".to_owned(), "Allow blending".to_owned()),
                        ]
                    />
                </div>
            </div>
        </details>
    }
    .erase()
}

/// The init image with its mask over it, and the buttons that edit and remove both.
#[component]
fn Thumbnail(has_mask: Memo<bool>) -> ErasedView {
    let page = Page::here();
    let form = page.form;
    let source = move || form.init_image.with(|hash| address(hash));
    let veil = move || form.mask.with(|hash| format!("mask-image:url({})", address(hash)));
    let painting = move || if has_mask.get() { "Edit mask" } else { "Paint mask" };
    let unmask = move || {
        has_mask.get().then(|| {
            view! {
                <button
                    type="button"
                    class="link live-only"
                    id="remove-mask"
                    on:click=handler(move |_: MouseEvent| page.forget_mask())
                >
                    "Remove mask"
                </button>
            }
        })
    };
    view! {
        <div class="init-image">
            <span class="start-thumb">
                <img id="init-image" src=dyn_text(source) alt="Init image" />
                {dyn_view(move || has_mask.get().then(|| view! { <span class="veil" style=dyn_text(veil)></span> }))}
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
                    "Remove image"
                </button>
            </div>
        </div>
    }
    .erase()
}

/// A hidden field; the mask editor sets it and fires `input`, like typing would.
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

/// URL of an image.
pub(super) fn address(hash: &str) -> String {
    format!("/api/v1/images/{hash}.png")
}
