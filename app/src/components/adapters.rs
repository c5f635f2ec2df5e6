//! The adapters of a request: a row each, and a field that finds more.

use leptos::prelude::*;

use super::{
    adapter_row::Row,
    error::FieldProblem,
    kinds::{flag, text},
    piece::{IntoPiece, Piece},
    search::Search,
};
use crate::state::{Page, ROWS};

/// All rows. Nothing at all where the server has no adapters.
#[component]
pub(super) fn Adapters() -> Piece {
    let page = Page::here();
    let rows = page.form.adapters;
    if page.adapters.with_value(Vec::is_empty) {
        return ().into_piece();
    }
    let place = move |key: u32| rows.with(|rows| rows.iter().position(|row| row.key == key));
    view! {
        <fieldset class="adapters">
            <legend>"Adapters"</legend>
            <For each=move || rows.get() key=|row| row.key let(row)>
                <Row row=row index=Signal::derive(move || place(row.key).unwrap_or_default()) />
            </For>
            <AddRow />
            <FieldProblem field="adapters" />
        </fieldset>
    }
    .into_piece()
}

/// Finds the adapters that have no row yet. Without a script it is a menu and a row of its own, at strength 1.
#[component]
fn AddRow() -> Piece {
    let page = Page::here();
    let index = move || page.form.adapters.with(Vec::len);
    let absent = Signal::derive(move || {
        let rows = page.form.adapters.get();
        let has_row = |name: &str| rows.iter().any(|row| row.adapter.with_value(|adapter| adapter == name));
        page.adapters.with_value(|adapters| {
            let absent = adapters.iter().map(|(name, _)| name).filter(|name| !has_row(name));
            absent.cloned().collect::<Vec<_>>()
        })
    });
    if untrack(|| absent.get().is_empty()) && page.adapters.with_value(Vec::len) <= ROWS {
        // All have a row, and keep it.
        return ().into_piece();
    }
    // What the server wrote stays as it was: a page with a script has the field instead.
    let options = absent.get_untracked().into_iter().map(|name| {
        let label = name.clone();
        view! { <option value=name>{label}</option> }
    });
    view! {
        <div class="add-adapter" hidden=flag(move || absent.with(Vec::is_empty))>
            <select
                class="plain-only"
                name=text(move || format!("adapters[{}][name]", index()))
                aria-label="Add an adapter"
            >
                <option value="">"Add an adapter…"</option>
                {options.collect::<Vec<_>>()}
            </select>
            <Search absent=absent />
        </div>
    }
    .into_piece()
}
