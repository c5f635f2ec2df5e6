//! The canvas: the image, its preview or a placeholder, with its parameters below.

use leptos::prelude::*;

use super::{
    batch::Batch,
    empty::Empty,
    image::FinishedImage,
    live::{Live, Status, Thread},
    notice::NoticeBar,
    parameters::Parameters,
};
use crate::{
    state::Page,
    thin::{
        erased::{EraseView, ErasedView},
        reactive::{dyn_text, dyn_view},
    },
};

/// Content of the canvas.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Nothing,
    Image,
    Preview,
    Stopped,
}

/// The right side of the page.
#[component]
pub(crate) fn Canvas() -> ErasedView {
    let page = Page::here();
    let holds = Memo::new(move |_| {
        if page.workspace.shown.with(Option::is_some) {
            Holds::Image
        } else if page.workspace.is_busy() {
            Holds::Preview
        } else if page.workspace.generation.with(Option::is_some) {
            Holds::Stopped
        } else {
            Holds::Nothing
        }
    });
    let cloth = dyn_view(move || match holds.get() {
        Holds::Nothing => view! { <Empty /> }.erase(),
        Holds::Image => view! { <FinishedImage /> }.erase(),
        Holds::Preview => view! { <Live /> }.erase(),
        Holds::Stopped => view! { <Stopped /> }.erase(),
    });
    let below = dyn_view(move || match holds.get() {
        Holds::Image => view! { <Parameters /> }.erase(),
        Holds::Preview => view! { <Status /> }.erase(),
        Holds::Nothing | Holds::Stopped => ().erase(),
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
                {dyn_text(move || page.workspace.announcement.get())}
            </p>
        </section>
    }
    .erase()
}

/// A generation that ended without an image.
#[component]
fn Stopped() -> ErasedView {
    let page = Page::here();
    let error = move || {
        page.workspace
            .generation
            .with(|generation| generation.as_ref().and_then(|generation| generation.error.clone()))
    };
    let title = move || if error().is_some() { "Generation failed" } else { "Cancelled" };
    let words =
        move || error().unwrap_or_else(|| "No image was saved. Your settings are unchanged.".to_owned());
    view! {
        <div class="empty">
            <h2>{dyn_text(move || title().to_owned())}</h2>
            <p>{dyn_text(words)}</p>
        </div>
    }
    .erase()
}
