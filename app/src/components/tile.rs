//! A small picture that puts itself on the canvas.

use adire_protocol::ImageRecord;
use leptos::prelude::*;

use super::link::Link;
use crate::state::{Page, address_of};

/// One picture of the strip or of a batch.
#[component]
pub(super) fn Tile(picture: ImageRecord, #[prop(optional)] lazy: bool) -> AnyView {
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
    let show = Box::new(move || page.show(Some(picture.clone())));
    view! {
        <li>
            <Link href=address class="tile-link" title=title current=current action=show>
                <img src=source alt=prompt width="72" height="72" loading=if lazy { "lazy" } else { "eager" } />
            </Link>
        </li>
    }
    .into_any()
}
