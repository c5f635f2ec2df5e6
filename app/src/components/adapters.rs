//! The adapters of a request: a row each, and a field that finds more.

use adire_protocol::AdapterVersion;
use leptos::{ev::Event, html::Select, prelude::*};

use super::{adapter_row::Row, error::FieldProblem};
use crate::{
    browser, form,
    state::{Page, ROWS},
    thin::{
        erased::{EraseView, ErasedView},
        reactive::{dyn_flag, dyn_text, dyn_view, handler},
    },
};

/// A separate module, loaded only where there are many adapters.
const SEARCH: &str = "/search.js";

/// All rows; empty where the server has no adapters.
#[component]
pub(super) fn Adapters() -> ErasedView {
    let page = Page::here();
    let rows = page.form.adapters;
    if page.adapters.with_value(Vec::is_empty) {
        return ().erase();
    }
    let index_of = move |key: u32| rows.with(|rows| rows.iter().position(|row| row.key == key));
    view! {
        <fieldset class="adapters">
            <legend>"Adapters"</legend>
            <For each=move || rows.get() key=|row| row.key let(row)>
                <Row row=row index=Signal::derive(move || index_of(row.key).unwrap_or_default()) />
            </For>
            <AddRow />
            <FieldProblem field="adapters" />
        </fieldset>
    }
    .erase()
}

/// A menu of the adapters that have no row yet. Without a script it is a row by itself, at strength 1; with one, a search
/// field replaces it.
#[component]
fn AddRow() -> ErasedView {
    let page = Page::here();
    if page.adapters.with_value(Vec::len) <= ROWS {
        // Every adapter has a permanent row.
        return ().erase();
    }
    let menu = NodeRef::<Select>::new();
    let index = move || page.form.adapters.with(Vec::len);
    let absent = move || {
        let rows = page.form.adapters.get();
        let has_row = |name: &str| rows.iter().any(|row| row.adapter.with_value(|adapter| adapter == name));
        page.adapters.with_value(|adapters| {
            let absent = adapters.iter().filter(|(name, _)| !has_row(name));
            absent
                .filter_map(|(_, versions)| Some((versions.first()?.clone(), numbers(versions))))
                .collect::<Vec<_>>()
        })
    };
    let add = move |event: Event| {
        let wanted = event_target_value(&event);
        let known = page.adapters.with_value(|adapters| {
            let found = adapters.iter().find(|(name, _)| *name == wanted);
            found.and_then(|(_, versions)| Some(form::default_of(versions)?.id()))
        });
        if let Some(id) = known {
            page.form.switch_on(id);
            page.workspace.announcement.set(format!("Adapter {wanted} selected."));
        }
        if let Some(menu) = menu.get_untracked() {
            menu.set_value("");
        }
    };
    let options = move || {
        let option = |(newest, versions): (AdapterVersion, String)| {
            let name = newest.name.clone();
            view! {
                <option
                    value=newest.name
                    data-trigger=newest.trigger
                    data-versions=versions
                    data-about=newest.description
                >
                    {name}
                </option>
            }
        };
        absent().into_iter().map(option).collect::<Vec<_>>()
    };
    Effect::new(|| browser::load_module(SEARCH));
    view! {
        <div class="add-adapter" hidden=dyn_flag(move || absent().is_empty())>
            <select
                name=dyn_text(move || format!("adapters[{}][name]", index()))
                aria-label="Add an adapter"
                autocomplete="off"
                node_ref=menu
                on:change=handler(add)
            >
                <option value="">"Add an adapter…"</option>
                {dyn_view(options)}
            </select>
        </div>
    }
    .erase()
}

/// `v3, v2, v1`.
fn numbers(versions: &[AdapterVersion]) -> String {
    let numbers: Vec<_> = versions.iter().map(|version| format!("v{}", version.version)).collect();
    numbers.join(", ")
}
