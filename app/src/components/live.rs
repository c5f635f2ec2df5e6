//! A running generation: its preview, a progress bar along the top edge and a status line.

use adire_protocol::GenerationState;
use leptos::prelude::*;

use super::image::frame;
use crate::{
    state::{Page, fraction},
    thin::{
        erased::{EraseView, ErasedView},
        reactive::{dyn_text, dyn_view},
    },
    words::{duration, number, waits_for},
};

/// Reloads the page without a script. A constant, because a literal would be parsed as an attribute.
const REFRESH: &str = r#"<meta http-equiv="refresh" content="2">"#;

/// The preview, with the aspect ratio of the final image.
#[component]
pub(crate) fn Live() -> ErasedView {
    let page = Page::here();
    let size = move || {
        page.workspace
            .generation
            .with(|generation| generation.as_ref().map_or((1, 1), |generation| generation.spec.final_size()))
    };
    let preview = Memo::new(move |_| {
        page.workspace.generation.with(|generation| {
            generation.as_ref().and_then(|generation| generation.progress.as_ref()?.preview.clone())
        })
    });
    let has_preview = Memo::new(move |_| preview.with(Option::is_some));
    // One element whose source changes: a new one at each step would flicker.
    let image = move || {
        let source = dyn_text(move || preview.get().unwrap_or_default());
        has_preview.get().then(|| view! { <img class="preview" src=source alt="Preview" /> })
    };
    view! {
        <div class="frame live" style=dyn_text(move || frame(size()))>
            {dyn_view(image)}
            <noscript inner_html=REFRESH></noscript>
        </div>
    }
    .erase()
}

/// Progress of the whole generation.
#[component]
pub(crate) fn Thread() -> ErasedView {
    let page = Page::here();
    let busy = Memo::new(move |_| page.workspace.is_busy());
    let done = move || {
        page.workspace.generation.with(|generation| generation.as_ref().map(fraction).unwrap_or_default())
    };
    let value = move || number(done());
    dyn_view(move || {
        busy.get().then(|| {
            view! { <progress class="thread" max="1" value=dyn_text(value) aria-label="Progress"></progress> }
        })
    })
    .erase()
}

/// `Step 7 of 20 · about 2 s left`.
#[component]
pub(crate) fn Status() -> ErasedView {
    let page = Page::here();
    let words = move || {
        page.workspace.generation.with(|generation| {
            let Some(generation) = generation else { return String::new() };
            let mut parts = Vec::new();
            match (&generation.progress, generation.state) {
                (Some(progress), _) => {
                    let (first, last) = (progress.image + 1, progress.image + progress.batch);
                    match progress.images {
                        ..=1 => {}
                        images if last > first => parts.push(format!("Images {first}–{last} of {images}")),
                        images => parts.push(format!("Image {first} of {images}")),
                    }
                    parts.push(format!("Step {} of {}", progress.step, progress.steps));
                    parts.extend(progress.remaining_ms.map(|ms| match duration(ms as f64) {
                        short if short.starts_with("under") => "almost done".to_owned(),
                        long => format!("about {long} left"),
                    }));
                }
                (None, GenerationState::Queued) => {
                    parts.push("Queued".to_owned());
                    parts.extend(waits_for(generation.ahead, generation.wait_reason));
                    parts.extend(
                        generation
                            .wait_ms
                            .filter(|wait| *wait > 0)
                            .map(|ms| format!("starts in about {}", duration(ms as f64))),
                    );
                }
                (None, _) => {
                    parts.push("Starting".to_owned());
                    parts.extend(waits_for(None, generation.wait_reason));
                }
            }
            parts.join(" · ")
        })
    };
    let prompt = move || {
        page.workspace.generation.with(|generation| {
            generation.as_ref().map(|generation| generation.spec.prompt.clone()).unwrap_or_default()
        })
    };
    view! {
        <div class="parameters">
            <p class="caption">{dyn_text(prompt)}</p>
            <p class="status" id="status">
                {dyn_text(words)}
            </p>
        </div>
    }
    .erase()
}
