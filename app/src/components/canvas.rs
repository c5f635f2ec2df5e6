//! The canvas: the image, or what there is instead, and what is known about it.

use leptos::prelude::*;

use super::{
    batch::Batch,
    empty::Empty,
    kinds::{part, text},
    live::{Live, Status, Thread},
    notice::NoticeBar,
    parameters::Parameters,
    picture::Picture,
    piece::{IntoPiece, Piece},
};
use crate::state::Page;

/// What the canvas holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Nothing,
    Picture,
    Making,
    Stopped,
}

/// The right side of the page.
#[component]
pub(crate) fn Canvas() -> Piece {
    let page = Page::here();
    let holds = Memo::new(move |_| {
        if page.stage.shown.with(Option::is_some) {
            Holds::Picture
        } else if page.stage.is_busy() {
            Holds::Making
        } else if page.stage.job.with(Option::is_some) {
            Holds::Stopped
        } else {
            Holds::Nothing
        }
    });
    let cloth = part(move || match holds.get() {
        Holds::Nothing => view! { <Empty /> }.into_piece(),
        Holds::Picture => view! { <Picture /> }.into_piece(),
        Holds::Making => view! { <Live /> }.into_piece(),
        Holds::Stopped => view! { <Stopped /> }.into_piece(),
    });
    let below = part(move || match holds.get() {
        Holds::Picture => view! { <Parameters /> }.into_piece(),
        Holds::Making => view! { <Status /> }.into_piece(),
        Holds::Nothing | Holds::Stopped => ().into_piece(),
    });
    view! {
        <section class="canvas" aria-label="Canvas">
            <NoticeBar />
            <div class="cloth">
                <Thread />
                {cloth}
            </div>
            <Batch />
            {below}
            <p class="off-screen" role="status">
                {text(move || page.stage.said.get())}
            </p>
        </section>
    }
    .into_piece()
}

/// A generation that ended without an image.
#[component]
fn Stopped() -> Piece {
    let page = Page::here();
    let error = move || page.stage.job.with(|job| job.as_ref().and_then(|job| job.error.clone()));
    let title = move || if error().is_some() { "The picture could not be made" } else { "Cancelled" };
    let words = move || error().unwrap_or_else(|| "Nothing was kept. The form is as you left it.".to_owned());
    view! {
        <div class="empty">
            <h2>{text(move || title().to_owned())}</h2>
            <p>{text(words)}</p>
        </div>
    }
    .into_piece()
}
