//! A finished picture.

use leptos::prelude::*;

use super::kinds::part;
use crate::state::Page;

/// The picture on the canvas. Its last preview lies under it until the file is there.
#[component]
pub(crate) fn Picture() -> AnyView {
    let page = Page::here();
    part(move || {
        page.stage.shown.get().map(|shown| {
            let spec = &shown.recipe.spec;
            let preview = page.stage.last_preview.with_untracked(|last| {
                last.as_ref().filter(|(id, ..)| *id == shown.generation).map(|(_, preview)| preview.clone())
            });
            view! {
                <div class="frame" style=frame((spec.width, spec.height))>
                    {preview.map(|preview| view! { <img class="preview" src=preview alt="" /> })}
                    <img
                        id="picture"
                        class="picture"
                        src=shown.url.clone()
                        width=spec.width
                        height=spec.height
                        alt=spec.prompt.clone()
                    />
                </div>
            }
        })
    })
    .into_any()
}

/// Gives a frame the picture's shape; the style sheet fits it into the room there is.
pub(super) fn frame((width, height): (u32, u32)) -> String {
    format!("--width:{width};--height:{height}")
}
