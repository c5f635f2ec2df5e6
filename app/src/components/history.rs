//! The strip of the visitor's images, newest first. It comes from the server, so it survives a reload.

use leptos::{ev::MouseEvent, prelude::*};
use wasm_bindgen_futures::spawn_local;

use super::{link::Link, tile::Tiles};
use crate::{
    state::{Notice, Page},
    thin::{
        client,
        erased::{EraseView, ErasedView},
        reactive::{dyn_flag, dyn_text, dyn_view, handler},
    },
};

/// The strip; hidden before the first image.
#[component]
pub(crate) fn History() -> ErasedView {
    let page = Page::here();
    let empty = Memo::new(move |_| page.workspace.history.with(Vec::is_empty));
    view! {
        <section class="history" aria-label="Your images" hidden=dyn_flag(move || empty.get())>
            <ul id="history">
                <LiveTile />
                <Tiles images=page.workspace.history />
                <More />
                <li>
                    <a class="older" href="/history">
                        "All images"
                    </a>
                </li>
            </ul>
        </section>
    }
    .erase()
}

/// Returns to the running generation while another image is shown.
#[component]
fn LiveTile() -> ErasedView {
    let page = Page::here();
    let away = Memo::new(move |_| page.workspace.is_busy() && page.workspace.shown.with(Option::is_some));
    dyn_view(move || {
        away.get().then(|| {
            view! {
                <li>
                    <button
                        type="button"
                        class="live-tile live-only"
                        on:click=handler(move |_: MouseEvent| page.show(None))
                    >
                        "Back to current generation"
                    </button>
                </li>
            }
        })
    })
    .erase()
}

/// Loads older images; a link to them without a script.
#[component]
fn More() -> ErasedView {
    let page = Page::here();
    let workspace = page.workspace;
    let before = move || {
        workspace.history.with(|history| history.last().map(|image| image.created_at).unwrap_or_default())
    };
    let loading = RwSignal::new(false);
    let load = move || {
        if loading.get_untracked() {
            return;
        }
        loading.set(true);
        spawn_local(async move {
            match client::load_history(untrack(before)).await {
                Ok((images, more)) => {
                    workspace.history.update(|history| history.extend(images));
                    workspace.more.set(more);
                }
                Err(error) => workspace.notify(Notice::Problem(error.message)),
            }
            loading.set(false);
        });
    };
    dyn_view(move || {
        workspace.more.get().then(|| {
            let address = Signal::derive(move || format!("/?before={}", before()));
            let label = move || if loading.get() { "Loading…" } else { "Load more" };
            view! {
                <li>
                    <Link href=address class="older" action=Box::new(load)>
                        {dyn_text(move || label().to_owned())}
                    </Link>
                </li>
            }
        })
    })
    .erase()
}
