//! An image dropped anywhere gives its parameters to the form; one without any is what the next image starts from.

use leptos::prelude::*;

use super::{
    erased::{EraseView, ErasedView},
    reactive::dyn_view,
};
use crate::{browser, state::Page};

/// Listens for files; while one hovers, says what letting go does.
#[component]
pub(crate) fn DropOverlay() -> ErasedView {
    let page = Page::here();
    let over = RwSignal::new(false);
    Effect::new(move || browser::drop_target(over, move |file| page.take_image(file)));
    dyn_view(move || {
        over.get().then(|| {
            view! {
                <div class="drop-overlay">
                    <p>"Let go to take this picture’s parameters, or to start from it"</p>
                </div>
            }
        })
    })
    .erase()
}
