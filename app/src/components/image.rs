//! A finished image.

use adire_protocol::ImageRecord;
use leptos::prelude::*;

use crate::{
    state::Page,
    thin::{
        erased::{EraseView, ErasedView},
        reactive::{dyn_text, dyn_view},
    },
};

/// The image on the canvas. Its last preview lies under it until the file is there.
#[component]
pub(crate) fn FinishedImage() -> ErasedView {
    let page = Page::here();
    // While the canvas switches to other content no image is selected; the last one stays until then.
    let shown = Memo::new(move |last: Option<&Option<ImageRecord>>| {
        page.workspace.shown.get().or_else(|| last.cloned().flatten())
    });
    let attribute = move |read: fn(&ImageRecord) -> String| {
        dyn_text(move || shown.with(|shown| shown.as_ref().map(read).unwrap_or_default()))
    };
    let preview = Memo::new(move |_| {
        let generation = shown.with(|shown| shown.as_ref().map(|shown| shown.generation.clone()))?;
        page.workspace.last_preview.with_untracked(|last| {
            last.as_ref().filter(|(id, ..)| *id == generation).map(|(_, preview)| preview.clone())
        })
    });
    let under = move || preview.get().map(|preview| view! { <img class="preview" src=preview alt="" /> });
    view! {
        <div class="frame" style=attribute(|shown| frame(shown.recipe.spec.final_size()))>
            {dyn_view(under)}
            <img
                id="canvas-image"
                class="canvas-image"
                src=attribute(|shown| shown.url.clone())
                width=attribute(|shown| shown.recipe.spec.final_size().0.to_string())
                height=attribute(|shown| shown.recipe.spec.final_size().1.to_string())
                alt=attribute(|shown| shown.recipe.spec.prompt.clone())
            />
        </div>
    }
    .erase()
}

/// Style that gives a frame the image's aspect ratio; the style sheet fits it into the available space.
pub(super) fn frame((width, height): (u32, u32)) -> String {
    format!("--width:{width};--height:{height}")
}
