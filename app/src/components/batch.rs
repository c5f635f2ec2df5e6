//! The pictures of one generation, where it makes several.

use adire_protocol::ImageRecord;
use leptos::prelude::*;

use crate::state::{Page, address_of};

/// What was made together with the picture on the canvas.
#[component]
pub(crate) fn Batch() -> impl IntoView {
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
    let several = move || {
        let making = page.stage.is_busy()
            && page.stage.job.with(|job| job.as_ref().is_some_and(|job| job.spec.count > 1));
        (pictures.with(Vec::len) > 1 || (making && pictures.with(|pictures| !pictures.is_empty()))).then(
            || {
                let tiles = pictures.get().into_iter().map(|picture| view! { <Tile picture=picture /> });
                view! { <ul class="batch" aria-label="Made together">{tiles.collect::<Vec<_>>()}</ul> }
            },
        )
    };
    several
}

#[component]
fn Tile(picture: ImageRecord) -> impl IntoView {
    let page = Page::here();
    let hash = StoredValue::new((picture.generation.clone(), picture.index));
    let current = move || {
        page.stage.shown.with(|shown| {
            let shown = shown.as_ref()?;
            hash.with_value(|(id, index)| *id == shown.generation && *index == shown.index).then_some("true")
        })
    };
    let label = format!("Picture {}", picture.index + 1);
    let (address, source) = (address_of(&picture), picture.url.clone());
    view! {
        <li>
            <a
                href=address
                aria-current=current
                aria-label=label
                on:click=move |event| {
                    event.prevent_default();
                    page.show(Some(picture.clone()));
                }
            >
                <img src=source width="56" height="56" alt="" />
            </a>
        </li>
    }
}
