//! The adapters of a request: a row each, and a menu for more.

use leptos::{ev::Event, html::Select, prelude::*};

use super::{
    adapter_row::Row,
    error::FieldProblem,
    kinds::{flag, on, part, text},
    piece::{IntoPiece, Piece},
};
use crate::state::Page;

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

/// A menu of the adapters that have no row yet. Without a script it is a row of its own, at strength 1.
#[component]
fn AddRow() -> Piece {
    let page = Page::here();
    let menu = NodeRef::<Select>::new();
    let index = move || page.form.adapters.with(Vec::len);
    let absent = move || {
        let rows = page.form.adapters.get();
        page.adapters.with_value(|adapters| {
            let has_row =
                |name: &str| rows.iter().any(|row| row.adapter.with_value(|adapter| adapter == name));
            adapters
                .iter()
                .filter(|(name, _)| !has_row(name))
                .filter_map(|(name, versions)| Some((name.clone(), versions.first()?.id())))
                .collect::<Vec<_>>()
        })
    };
    let add = move |event: Event| {
        let id = event_target_value(&event);
        if !id.is_empty() {
            page.form.add_row(id);
        }
        if let Some(menu) = menu.get_untracked() {
            menu.set_value("");
        }
    };
    let options = move || {
        let option = |(name, id): (String, String)| view! { <option value=id>{name}</option> };
        absent().into_iter().map(option).collect::<Vec<_>>()
    };
    view! {
        <div class="add-adapter" hidden=flag(move || absent().is_empty())>
            <select
                name=text(move || format!("adapters[{}][name]", index()))
                aria-label="Add an adapter"
                autocomplete="off"
                node_ref=menu
                on:change=on(add)
            >
                <option value="">"Add an adapter…"</option>
                {part(options)}
            </select>
        </div>
    }
    .into_piece()
}
