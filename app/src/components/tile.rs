//! Thumbnails that open their image on the canvas.

use adire_protocol::ImageRecord;
use leptos::prelude::*;

use super::{
    icons::{Drawing, Icon},
    link::Link,
    parameters::continue_address,
};
use crate::{
    state::{Page, address_of},
    thin::erased::{EraseView, ErasedView},
};

/// Thumbnails that load eagerly; the others load when they scroll into view.
const EAGER: usize = 8;

/// The items of a list of images, keyed by image.
#[component]
pub(super) fn Tiles(#[prop(into)] images: Signal<Vec<ImageRecord>>) -> ErasedView {
    let key = |image: &ImageRecord| (image.generation.clone(), image.index);
    let images = move || images.get().into_iter().enumerate().collect::<Vec<_>>();
    view! {
        <For each=images key=move |(_, image)| key(image) let((index, image))>
            <Tile image=image lazy={index >= EAGER} />
        </For>
    }
    .erase()
}

/// One image of the strip or of a batch.
#[component]
fn Tile(image: ImageRecord, lazy: bool) -> ErasedView {
    let page = Page::here();
    let (id, index) = (image.generation.clone(), image.index);
    let current = Signal::derive(move || {
        page.workspace
            .shown
            .with(|shown| shown.as_ref().is_some_and(|shown| shown.generation == id && shown.index == index))
    });
    let (address, source) = (address_of(&image), image.url.clone());
    let prompt = image.recipe.spec.prompt.clone();
    let title = prompt.clone();
    let (onwards, kept) = (continue_address(&image), image.clone());
    let go_on = Box::new(move || page.continue_from(&kept));
    let show = Box::new(move || page.show(Some(image.clone())));
    view! {
        <li>
            <Link href=address class="tile-link" title=title current=current action=show>
                <img src=source alt=prompt width="72" height="72" loading=if lazy { "lazy" } else { "eager" } />
            </Link>
            <Link href=onwards class="tile-onwards" title="Send to img2img" action=go_on>
                <Drawing icon=Icon::Start />
                <span class="off-screen">"Send to img2img"</span>
            </Link>
        </li>
    }
    .erase()
}
