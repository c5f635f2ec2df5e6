//! Opening a picture for its parameters, for those who cannot drop it on the page.

use leptos::{ev::Event, prelude::*};
use wasm_bindgen::JsCast;
use web_sys::HtmlInputElement;

use super::{
    kinds::on,
    piece::{IntoPiece, Piece},
};
use crate::state::Page;

/// A file button.
#[component]
pub(crate) fn OpenPicture() -> Piece {
    let page = Page::here();
    let chosen = move |event: Event| {
        let Some(input) = event.target().and_then(|target| target.dyn_into::<HtmlInputElement>().ok()) else {
            return;
        };
        if let Some(file) = input.files().and_then(|files| files.get(0)) {
            page.read_picture(file);
        }
        // The same file can be chosen again.
        input.set_value("");
    };
    view! {
        <label class="open-picture live-only" title="Take the parameters out of a PNG; dropping one anywhere does the same">
            "From a picture…"
            <input type="file" accept="image/png,.png" class="off-screen" on:change=on(chosen) />
        </label>
    }
    .into_piece()
}
