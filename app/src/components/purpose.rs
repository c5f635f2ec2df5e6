//! Asks what a dropped image without parameters is for. The form is unchanged until the answer.

use leptos::{ev::MouseEvent, prelude::*};
use web_sys::HtmlDialogElement;

use crate::{
    browser,
    state::{Page, UploadRole},
    thin::{
        erased::{EraseView, ErasedView},
        reactive::{dyn_flag, dyn_text, handler},
    },
};

const DIALOG: &str = "purpose";

/// The question, as a dialog: the browser keeps the focus inside and gives it back, and Escape closes it.
#[component]
pub(crate) fn Purpose() -> ErasedView {
    let page = Page::here();
    let asking = page.workspace.asking;
    Effect::new(move || {
        if asking.with(Option::is_some)
            && let Some(dialog) = browser::element::<HtmlDialogElement>(DIALOG)
            && !dialog.open()
        {
            let _ = dialog.show_modal();
        }
    });
    let why = move || {
        asking.with(|asking| {
            asking
                .as_ref()
                .map(|(name, why)| format!("No parameters loaded from {name}. {why}"))
                .unwrap_or_default()
        })
    };
    let without_init_image = move || page.form.init_image.with(String::is_empty);
    let answer = move |role: Option<UploadRole>| {
        asking.set(None);
        if let Some(dialog) = browser::element::<HtmlDialogElement>(DIALOG) {
            dialog.close();
        }
        let file = browser::kept_file();
        if let Some((file, role)) = file.zip(role) {
            page.upload_as(file, role);
        }
    };
    view! {
        <dialog id=DIALOG class="purpose" aria-labelledby="purpose-title" aria-describedby="purpose-why">
            <h2 id="purpose-title">"What is this image for?"</h2>
            <p id="purpose-why">{dyn_text(why)}</p>
            <div class="purpose-answers">
                <button
                    type="button"
                    class="button"
                    id="use-as-init-image"
                    on:click=handler(move |_: MouseEvent| answer(Some(UploadRole::InitImage)))
                >
                    "Use as init image"
                </button>
                <button
                    type="button"
                    class="button in-time"
                    id="use-as-mask"
                    hidden=dyn_flag(without_init_image)
                    on:click=handler(move |_: MouseEvent| answer(Some(UploadRole::Mask)))
                >
                    "Use as mask"
                </button>
                <button
                    type="button"
                    class="link"
                    id="use-for-nothing"
                    on:click=handler(move |_: MouseEvent| answer(None))
                >
                    "Cancel"
                </button>
            </div>
        </dialog>
    }
    .erase()
}
