//! Small images that put themselves on the canvas.

use adire_protocol::ImageRecord;
use leptos::prelude::*;

use super::{
    icons::{Drawing, Icon},
    link::Link,
    parameters::continue_address,
    piece::{IntoPiece, Piece},
};
use crate::state::{Page, address_of};

/// How many images load at once; the others when they come into view.
const EAGER: usize = 8;

/// The items of a list of images; each stays while its image does.
#[component]
pub(super) fn Tiles(#[prop(into)] pictures: Signal<Vec<ImageRecord>>) -> Piece {
    let key = |picture: &ImageRecord| (picture.generation.clone(), picture.index);
    let pictures = move || pictures.get().into_iter().enumerate().collect::<Vec<_>>();
    view! {
        <For each=pictures key=move |(_, picture)| key(picture) let((place, picture))>
            <Tile picture=picture lazy={place >= EAGER} />
        </For>
    }
    .into_piece()
}

/// One image of the strip or of a batch.
#[component]
fn Tile(picture: ImageRecord, lazy: bool) -> Piece {
    let page = Page::here();
    let (id, index) = (picture.generation.clone(), picture.index);
    let current = Signal::derive(move || {
        page.stage
            .shown
            .with(|shown| shown.as_ref().is_some_and(|shown| shown.generation == id && shown.index == index))
    });
    let (address, source) = (address_of(&picture), picture.url.clone());
    let prompt = picture.recipe.spec.prompt.clone();
    let title = prompt.clone();
    let (onwards, kept) = (continue_address(&picture), picture.clone());
    let go_on = Box::new(move || page.continue_from(&kept));
    let show = Box::new(move || page.show(Some(picture.clone())));
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
    .into_piece()
}
