//! The strip of the visitor's pictures, newest left. It comes from the server, so it survives everything.

use adire_protocol::ImageRecord;
use leptos::{ev::MouseEvent, prelude::*, task::spawn_local};

use super::{
    kinds::{flag, on, part, text},
    link::Link,
    tile::Tile,
};
use crate::{
    api,
    state::{Notice, Page},
};

/// How many pictures load at once; the others when they come into view.
const EAGER: usize = 8;

/// The strip; nothing before the first picture.
#[component]
pub(crate) fn History() -> AnyView {
    let page = Page::here();
    let empty = Memo::new(move |_| page.stage.history.with(Vec::is_empty));
    let key = |picture: &ImageRecord| (picture.generation.clone(), picture.index);
    let pictures = move || page.stage.history.get().into_iter().enumerate().collect::<Vec<_>>();
    view! {
        <section class="history" aria-label="Your pictures" hidden=flag(move || empty.get())>
            <ul id="history">
                <LiveTile />
                <For each=pictures key=move |(_, picture)| key(picture) let((place, picture))>
                    <Tile picture=picture lazy={place >= EAGER} />
                </For>
                <More />
            </ul>
        </section>
    }
    .into_any()
}

/// The way back to what is being made while another picture is looked at.
#[component]
fn LiveTile() -> AnyView {
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
    .into_any()
}

/// Loads older pictures; a link to them without a script.
#[component]
fn More() -> AnyView {
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
    .into_any()
}
