//! The strip of the visitor's images, newest left. It comes from the server, so it survives everything.

use leptos::{ev::MouseEvent, prelude::*};
use wasm_bindgen_futures::spawn_local;

use super::{
    kinds::{flag, on, part, text},
    link::Link,
    piece::{IntoPiece, Piece},
    tile::Tiles,
};
use crate::{
    api,
    state::{Notice, Page},
};

/// The strip; nothing before the first image.
#[component]
pub(crate) fn History() -> Piece {
    let page = Page::here();
    let empty = Memo::new(move |_| page.stage.history.with(Vec::is_empty));
    view! {
        <section class="history" aria-label="Your pictures" hidden=flag(move || empty.get())>
            <ul id="history">
                <LiveTile />
                <Tiles pictures=page.stage.history />
                <More />
            </ul>
        </section>
    }
    .into_piece()
}

/// The way back to what is being made while another image is looked at.
#[component]
fn LiveTile() -> Piece {
    let page = Page::here();
    let away = Memo::new(move |_| page.stage.is_busy() && page.stage.shown.with(Option::is_some));
    part(move || {
        away.get().then(|| {
            view! {
                <li>
                    <button
                        type="button"
                        class="live-tile live-only"
                        on:click=on(move |_: MouseEvent| page.show(None))
                    >
                        "Back to the one being made"
                    </button>
                </li>
            }
        })
    })
    .into_piece()
}

/// Loads older images; a link to them without a script.
#[component]
fn More() -> Piece {
    let page = Page::here();
    let stage = page.stage;
    let before = move || {
        stage.history.with(|history| history.last().map(|picture| picture.created_at).unwrap_or_default())
    };
    let loading = RwSignal::new(false);
    let load = move || {
        if loading.get_untracked() {
            return;
        }
        loading.set(true);
        spawn_local(async move {
            match api::load_history(untrack(before)).await {
                Ok((pictures, more)) => {
                    stage.history.update(|history| history.extend(pictures));
                    stage.more.set(more);
                }
                Err(error) => stage.tell(Notice::Problem(error.message)),
            }
            loading.set(false);
        });
    };
    part(move || {
        stage.more.get().then(|| {
            let address = Signal::derive(move || format!("/?before={}", before()));
            let label = move || if loading.get() { "Loading…" } else { "Older" };
            view! {
                <li>
                    <Link href=address class="older" action=Box::new(load)>
                        {text(move || label().to_owned())}
                    </Link>
                </li>
            }
        })
    })
    .into_piece()
}
