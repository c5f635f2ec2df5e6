//! The strip of the visitor's pictures, newest left. It comes from the server, so it survives everything.

use adire_protocol::ImageRecord;
use leptos::{prelude::*, task::spawn_local};

use crate::{
    api,
    state::{Notice, Page, address_of},
};

/// How many pictures load at once; the others when they come into view.
const EAGER: usize = 8;

/// The strip; nothing before the first picture.
#[component]
pub(crate) fn History() -> impl IntoView {
    let page = Page::here();
    let empty = Memo::new(move |_| page.stage.history.with(Vec::is_empty));
    let key = |picture: &ImageRecord| (picture.generation.clone(), picture.index);
    let pictures = move || page.stage.history.get().into_iter().enumerate().collect::<Vec<_>>();
    view! {
        <section class="history" aria-label="Your pictures" hidden=empty>
            <ul id="history">
                <LiveTile />
                <For each=pictures key=move |(_, picture)| key(picture) let((place, picture))>
                    <Tile picture=picture lazy={place >= EAGER} />
                </For>
                <More />
            </ul>
        </section>
    }
}

/// The way back to what is being made while another picture is looked at.
#[component]
fn LiveTile() -> impl IntoView {
    let page = Page::here();
    let away = Memo::new(move |_| page.stage.is_busy() && page.stage.shown.with(Option::is_some));
    move || {
        away.get().then(|| {
            view! {
                <li>
                    <button type="button" class="live-tile" on:click=move |_| page.show(None)>
                        "Back to the one being made"
                    </button>
                </li>
            }
        })
    }
}

#[component]
fn Tile(picture: ImageRecord, lazy: bool) -> impl IntoView {
    let page = Page::here();
    let hash = StoredValue::new((picture.generation.clone(), picture.index));
    let current = move || {
        page.stage.shown.with(|shown| {
            let shown = shown.as_ref()?;
            hash.with_value(|(id, index)| *id == shown.generation && *index == shown.index).then_some("true")
        })
    };
    let (address, source) = (address_of(&picture), picture.url.clone());
    let (prompt, title) = (picture.recipe.spec.prompt.clone(), picture.recipe.spec.prompt.clone());
    view! {
        <li>
            <a
                href=address
                title=title
                aria-current=current
                on:click=move |event| {
                    event.prevent_default();
                    page.show(Some(picture.clone()));
                }
            >
                <img src=source alt=prompt width="72" height="72" loading=if lazy { "lazy" } else { "eager" } />
            </a>
        </li>
    }
}

/// Loads older pictures; a link to them without a script.
#[component]
fn More() -> impl IntoView {
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
    move || {
        stage.more.get().then(|| {
            view! {
                <li>
                    <a
                        class="older"
                        href=move || format!("/?before={}", before())
                        on:click=move |event| {
                            event.prevent_default();
                            load();
                        }
                    >
                        {move || if loading.get() { "Loading…" } else { "Older" }}
                    </a>
                </li>
            }
        })
    }
}
