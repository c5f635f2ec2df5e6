//! The pictures of one generation, where it makes several.

use leptos::prelude::*;

use super::{kinds::part, tile::Tile};
use crate::state::Page;

/// What was made together with the picture on the canvas.
#[component]
pub(super) fn Batch() -> AnyView {
    let page = Page::here();
    let pictures = Memo::new(move |_| {
        let shown = page.stage.shown.with(|shown| shown.as_ref().map(|shown| shown.generation.clone()));
        let of_job = page.stage.job.with(|job| {
            let job = job.as_ref()?;
            shown.as_ref().is_none_or(|id| *id == job.id).then(|| job.images.clone())
        });
        of_job.unwrap_or_else(|| {
            let mut siblings = page.stage.history.get();
            siblings.retain(|picture| Some(&picture.generation) == shown.as_ref());
            siblings.sort_by_key(|picture| picture.index);
            siblings
        })
    });
    part(move || {
        let pictures = pictures.get();
        let more_to_come = page
            .stage
            .job
            .with(|job| job.as_ref().is_some_and(|job| !job.state.is_final() && job.spec.count > 1));
        (pictures.len() > 1 || (more_to_come && !pictures.is_empty())).then(|| {
            let tiles = pictures.into_iter().map(|picture| view! { <Tile picture=picture /> });
            view! {
                <ul class="batch" aria-label="Made together">
                    {tiles.collect::<Vec<_>>()}
                </ul>
            }
        })
    })
    .into_any()
}
