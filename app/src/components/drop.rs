//! Dropping an image anywhere loads its parameters; one without parameters can become the init image or the mask.

use leptos::prelude::*;

use crate::{
    browser,
    state::Page,
    thin::{
        erased::{EraseView, ErasedView},
        reactive::dyn_view,
    },
};

/// Listens for files; while one hovers, shows what dropping it does.
#[component]
pub(crate) fn DropOverlay() -> ErasedView {
    let page = Page::here();
    let over = RwSignal::new(false);
    Effect::new(move || browser::drop_target(over, move |file| page.take_image(file)));
    dyn_view(move || {
        over.get().then(|| {
            view! {
                <div class="drop-overlay">
                    <p>"Drop to load its parameters or use it as the init image"</p>
                </div>
            }
        })
    })
    .erase()
}
