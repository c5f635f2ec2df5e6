//! An image dropped anywhere gives its parameters to the form; one without any is what the next image starts from.

use leptos::prelude::*;

use super::{
    kinds::part,
    piece::{IntoPiece, Piece},
};
use crate::{browser, state::Page};

/// Listens for files; while one hovers, says what letting go does.
#[component]
pub(crate) fn DropOverlay() -> Piece {
    let page = Page::here();
    let over = RwSignal::new(false);
    Effect::new(move || browser::drop_target(over, move |file| page.take_picture(file)));
    part(move || {
        over.get().then(|| {
            view! {
                <div class="drop-overlay">
                    <p>"Let go to take this picture’s parameters, or to start from it"</p>
                </div>
            }
        })
    })
    .into_piece()
}
