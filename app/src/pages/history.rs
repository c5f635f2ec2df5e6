//! The visitor's images: searched, selected, deleted, downloaded. A plain document; `public/history.js` adds selection of
//! many at once.

use adire_protocol::{FieldError, HistoryImage, HistoryPage, HistoryQuery};
use leptos::prelude::*;

use super::adapters::Bar;
use crate::{
    admin::ago,
    components::{Drawing, Icon},
    form,
    words::counted,
};

/// What the page shows.
#[derive(Clone)]
pub(crate) struct HistoryData {
    pub(crate) query: HistoryQuery,
    pub(crate) page: HistoryPage,
    /// What is wrong with the query.
    pub(crate) errors: Vec<FieldError>,
    /// Names that the adapter field suggests.
    pub(crate) adapters: Vec<String>,
    /// Message about the last action.
    pub(crate) flash: Option<String>,
}

/// What an image is called in forms: `generation/index`.
pub(crate) fn reference(image: &HistoryImage) -> String {
    format!("{}/{}", image.image.generation, image.image.index)
}

/// Address of the page of an image.
pub(crate) fn address(image: &HistoryImage) -> String {
    format!("/history/{}", reference(image))
}

/// The query as the part of an address after `?`; `before`: where the page begins.
pub(crate) fn query_string(query: &HistoryQuery, before: Option<i64>) -> String {
    let mut text = String::new();
    for (name, value) in [
        ("q", &query.q),
        ("adapter", &query.adapter),
        ("seed", &query.seed),
        ("from", &query.from),
        ("to", &query.to),
    ] {
        form::add(&mut text, name, value.trim());
    }
    if query.starred {
        form::add(&mut text, "starred", "true");
    }
    if let Some(before) = before {
        form::add(&mut text, "before", &before.to_string());
    }
    text
}

/// The page at `/history`.
#[component]
pub(crate) fn HistoryView(data: HistoryData) -> impl IntoView {
    let HistoryData { query, page, errors, adapters, flash } = data;
    let back = query_string(&query, query.before);
    let older = page.next.map(|next| format!("/history?{}", query_string(&query, Some(next))));
    let (filtered, empty) = (query.is_filtered(), page.images.is_empty());
    let nothing = if !errors.is_empty() {
        ""
    } else if filtered || query.before.is_some() {
        "No image matches."
    } else {
        "No images yet. What you generate in this browser appears here."
    };
    let cells = page.images.into_iter().map(cell).collect::<Vec<_>>();
    view! {
        <Bar />
        <main class="paper wide-paper">
            <h2>"Your images"</h2>
            <p class="lead">"Everything generated in this browser, newest first."</p>
            {flash.map(|flash| view! { <p class="notice" role="status">{flash}</p> })}
            <Search query=query errors=errors adapters=adapters />
            {empty.then(|| view! { <p class="nothing">{nothing}</p> })}
            {(!empty)
                .then(|| {
                    view! {
                        <form method="post" action="/history" class="selection">
                            <input type="hidden" name="back" value=back />
                            <div class="selection-bar" role="toolbar" aria-label="Selected images">
                                <label class="select-all" hidden>
                                    <input type="checkbox" id="select-all" autocomplete="off" />
                                    <span>"Select all on this page"</span>
                                </label>
                                <span class="selected hint" role="status"></span>
                                <button type="submit" class="button" name="action" value="star">
                                    "Add star"
                                </button>
                                <button type="submit" class="button" formaction="/history/zip">
                                    "Download zip"
                                </button>
                                <button type="submit" class="stop" name="action" value="delete">
                                    "Delete…"
                                </button>
                            </div>
                            <ul class="images" aria-label="Images">
                                {cells}
                            </ul>
                        </form>
                    }
                })}
            {older
                .map(|address| {
                    view! {
                        <p class="older-images">
                            <a class="button" href=address rel="next">
                                "Older images"
                            </a>
                        </p>
                    }
                })}
        </main>
    }
}

#[component]
fn Search(query: HistoryQuery, errors: Vec<FieldError>, adapters: Vec<String>) -> impl IntoView {
    let field = |name: &'static str, label: &'static str, kind: &'static str, value: String| {
        let error = errors.iter().find(|error| error.field == name).map(|error| error.message.clone());
        let described = error.is_some().then(|| format!("{name}-error"));
        let id = format!("search-{name}");
        let list = (name == "adapter").then_some("adapter-names");
        view! {
            <div class=format!("search-field search-{name}")>
                <label for=id.clone()>{label}</label>
                <input
                    type=kind
                    id=id
                    name=name
                    value=value
                    list=list
                    autocomplete="off"
                    aria-invalid=error.is_some().then_some("true")
                    aria-describedby=described.clone()
                />
                {error.map(|error| view! { <p class="field-problem" id=described>{error}</p> })}
            </div>
        }
    };
    let options = adapters.into_iter().map(|name| view! { <option value=name></option> }).collect::<Vec<_>>();
    let HistoryQuery { q, adapter, seed, from, to, starred, .. } = query.clone();
    view! {
        <form method="get" action="/history" role="search" class="search-history" aria-label="Search your images">
            {field("q", "Words of the prompt", "text", q)}
            {field("adapter", "Adapter", "text", adapter)}
            {field("seed", "Seed", "text", seed)}
            {field("from", "From", "date", from)}
            {field("to", "To", "date", to)}
            <label class="tick">
                <input type="checkbox" name="starred" value="true" checked=starred autocomplete="off" />
                <span>"Starred only"</span>
            </label>
            <div class="search-end">
                <button type="submit" class="primary">
                    "Search"
                </button>
                {query
                    .is_filtered()
                    .then(|| {
                        view! {
                            <a class="button" href="/history">
                                "Clear"
                            </a>
                        }
                    })}
            </div>
            <datalist id="adapter-names">{options}</datalist>
        </form>
    }
}

fn cell(image: HistoryImage) -> AnyView {
    let (name, page) = (reference(&image), address(&image));
    let prompt = image.image.recipe.spec.prompt.clone();
    let shown = if prompt.is_empty() { "(no prompt)".to_owned() } else { prompt };
    let starred = image.rating.starred;
    let label = if starred { format!("Remove star: {shown}") } else { format!("Add star: {shown}") };
    let select = format!("Select: {shown}");
    view! {
        <li>
            <a href=page>
                <img src=image.image.url alt=shown.clone() loading="lazy" width="256" height="192" />
                <span class="cell-text">
                    <b class="prompt-cut">{shown}</b>
                    <span class="hint">{ago(image.image.created_at)}</span>
                </span>
            </a>
            <input type="checkbox" name="image" value=name.clone() aria-label=select autocomplete="off" />
            <button
                type="submit"
                class="icon-button star"
                name=if starred { "unstar" } else { "star" }
                value=name
                aria-label=label
                aria-pressed=starred.to_string()
            >
                <Drawing icon=Icon::Star />
            </button>
        </li>
    }
    .into_any()
}

/// Asks once more before images are deleted.
#[component]
pub(crate) fn DeleteView(images: Vec<HistoryImage>, back: String) -> impl IntoView {
    let button = format!("Delete {}", counted(images.len() as u64, "image"));
    let title = format!("{button}?");
    let hidden =
        images.iter().map(|image| view! { <input type="hidden" name="image" value=reference(image) /> });
    let hidden = hidden.collect::<Vec<_>>();
    let shown = images.iter().map(|image| {
        let (source, alt) = (image.image.url.clone(), image.image.recipe.spec.prompt.clone());
        view! {
            <li>
                <img src=source alt=alt loading="lazy" width="128" height="96" />
            </li>
        }
    });
    let shown = shown.collect::<Vec<_>>();
    view! {
        <Bar />
        <main class="paper">
            <h2>{title}</h2>
            <p class="lead">
                "This can't be undone. Deleting the last image of a generation also deletes its prompt."
            </p>
            <ul class="images small">{shown}</ul>
            <form method="post" action="/history" class="confirm">
                <input type="hidden" name="action" value="delete-now" />
                <input type="hidden" name="back" value=back.clone() />
                {hidden}
                <button type="submit" class="stop">
                    {button}
                </button>
                <a class="button" href=format!("/history?{back}")>
                    "Keep images"
                </a>
            </form>
        </main>
    }
}
