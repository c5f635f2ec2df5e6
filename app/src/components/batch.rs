//! The images of a generation that produces several.

use leptos::prelude::*;

use super::tile::Tiles;
use crate::{
    order,
    state::Page,
    thin::{
        erased::{EraseView, ErasedView},
        reactive::dyn_view,
    },
};

/// The images of the generation that the image on the canvas belongs to.
#[component]
pub(super) fn Batch() -> ErasedView {
    let page = Page::here();
    let images = Memo::new(move |_| {
        let shown = page.workspace.shown.with(|shown| shown.as_ref().map(|shown| shown.generation.clone()));
        let in_progress = page.workspace.generation.with(|generation| {
            let generation = generation.as_ref()?;
            shown.as_ref().is_none_or(|id| *id == generation.id).then(|| generation.images.clone())
        });
        in_progress.unwrap_or_else(|| {
            let mut siblings = Vec::new();
            page.workspace.history.with(|history| {
                for image in history.iter().filter(|image| Some(&image.generation) == shown.as_ref()) {
                    order::insert(&mut siblings, image.clone(), |image| image.index);
                }
            });
            siblings
        })
    });
    let shown = Memo::new(move |_| {
        let more_to_come = page.workspace.generation.with(|generation| {
            generation
                .as_ref()
                .is_some_and(|generation| !generation.state.is_final() && generation.spec.count > 1)
        });
        images.with(|images| images.len() > 1 || (more_to_come && !images.is_empty()))
    });
    dyn_view(move || {
        shown.get().then(|| {
            view! {
                <ul class="batch" aria-label="Images of this generation">
                    <Tiles images=images />
                </ul>
            }
        })
    })
    .erase()
}
