//! An image to start from: chosen, dropped or made here; how much of it changes, and where.

use leptos::{
    ev::{Event, MouseEvent},
    prelude::*,
};

use super::{
    error::FieldProblem,
    field::Menu,
    file::FileButton,
    kinds::{flag, on, part, text},
    number::{Number, Range},
    piece::{IntoPiece, Piece},
};
use crate::{
    browser,
    form::{MASK_FILE, PICTURE_FILE},
    state::{Begin, Page},
};

/// What the server reads.
const PICTURES: &str = "image/png,image/jpeg,image/webp";
/// A module of its own, loaded when someone paints.
const MASK_EDITOR: &str = "/mask.js";

/// The folded section.
#[component]
pub(super) fn StartPicture() -> Piece {
    let page = Page::here();
    let form = page.form;
    let there = Memo::new(move |_| form.init_image.with(|hash| is_hash(hash)));
    let masked = Memo::new(move |_| form.mask.with(|hash| is_hash(hash)));
    let wrong = || ["init_image", "mask", "denoising_strength"].into_iter().any(|field| form.is_wrong(field));
    let open = untrack(|| there.get() || wrong());
    let choose = Signal::derive(move || {
        let words = match (page.stage.uploading.get(), there.get()) {
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
            <Kept name="init_image" value=form.init_image />
            <Kept name="mask" value=form.mask />
            {part(move || there.get().then(|| view! { <Thumbnail masked=masked /> }))}
            <div class="start-files">
                <FileButton
                    field="init_image"
                    name=PICTURE_FILE
                    accept=PICTURES
                    class="button file-button"
                    label=choose
                    chosen=Box::new(move |file| page.begin_with(file, Begin::Picture))
                />
                <span class="in-time" hidden=flag(move || !there.get())>
                    <FileButton
                        field="mask"
                        name=MASK_FILE
                        accept=PICTURES
                        class="button file-button"
                        title="White is made anew, black stays"
                        label=mask
                        chosen=Box::new(move |file| page.begin_with(file, Begin::Mask))
                    />
                </span>
            </div>
            <FieldProblem field="init_image" />
            <FieldProblem field="mask" />
            <div class="start-settings in-time" hidden=flag(move || !there.get())>
                <Number
                    name="denoising_strength"
                    label="Strength"
                    value=form.denoising_strength
                    range=Range { min: 0.05, max: 1.0, step: 0.05 }
                />
                <div class="row in-time" hidden=flag(move || !masked.get())>
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
    .into_piece()
}

/// The image with its mask over it, and what can be done with both.
#[component]
fn Thumbnail(masked: Memo<bool>) -> Piece {
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
                    on:click=on(move |_: MouseEvent| page.forget_mask())
                >
                    "Remove the mask"
                </button>
            }
        })
    };
    view! {
        <div class="start-picture">
            <span class="start-thumb">
                <img id="start-picture" src=text(source) alt="The picture to start from" />
                {part(move || masked.get().then(|| view! { <span class="veil" style=text(veil)></span> }))}
            </span>
            <div>
                <button
                    type="button"
                    class="button live-only"
                    id="paint-mask"
                    on:click=on(|_: MouseEvent| browser::load_module(MASK_EDITOR))
                >
                    {text(move || painting().to_owned())}
                </button>
                {part(unmask)}
                <button
                    type="button"
                    class="link live-only"
                    id="remove-picture"
                    on:click=on(move |_: MouseEvent| page.forget_picture())
                >
                    "Remove the picture"
                </button>
            </div>
        </div>
    }
    .into_piece()
}

/// A value that no one types; the mask editor sets it like a person would.
#[component]
fn Kept(name: &'static str, value: RwSignal<String>) -> Piece {
    let page = Page::here();
    let changed = move |event: Event| {
        value.set(event_target_value(&event));
        page.remember();
    };
    view! {
        <input type="hidden" name=name value=text(move || value.get()) autocomplete="off" on:input=on(changed) />
    }
    .into_piece()
}

/// An address may hold anything; only this is an image's name.
fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Where an image is.
pub(super) fn address(hash: &str) -> String {
    format!("/api/v1/images/{hash}.png")
}
