//! The images of one generation, where it makes several.

use leptos::prelude::*;

use super::{
    kinds::part,
    piece::{IntoPiece, Piece},
    tile::Tiles,
};
use crate::{order, state::Page};

/// What was made together with the image on the canvas.
#[component]
pub(super) fn Batch() -> Piece {
    let page = Page::here();
    let pictures = Memo::new(move |_| {
        let shown = page.stage.shown.with(|shown| shown.as_ref().map(|shown| shown.generation.clone()));
        let of_job = page.stage.job.with(|job| {
            let job = job.as_ref()?;
            shown.as_ref().is_none_or(|id| *id == job.id).then(|| job.images.clone())
        });
        of_job.unwrap_or_else(|| {
            let mut siblings = Vec::new();
            page.stage.history.with(|history| {
                for picture in history.iter().filter(|picture| Some(&picture.generation) == shown.as_ref()) {
                    order::insert(&mut siblings, picture.clone(), |picture| picture.index);
                }
            });
            siblings
        })
    });
    let shown = Memo::new(move |_| {
        let more_to_come = page
            .stage
            .job
            .with(|job| job.as_ref().is_some_and(|job| !job.state.is_final() && job.spec.count > 1));
        pictures.with(|pictures| pictures.len() > 1 || (more_to_come && !pictures.is_empty()))
    });
    part(move || {
        shown.get().then(|| {
            view! {
                <ul class="batch" aria-label="Made together">
                    <Tiles pictures=pictures />
                </ul>
            }
        })
    })
    .into_piece()
}
