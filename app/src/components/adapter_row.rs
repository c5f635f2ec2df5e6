//! One adapter: which version, how strongly.

use leptos::{ev::MouseEvent, prelude::*};

use super::{
    error::FieldProblem,
    field::{Line, Menu},
    icons::{Drawing, Icon},
    number::{Range, Slider},
};
use crate::{
    form,
    state::{Page, ROWS, RowState},
    thin::{
        erased::{EraseView, ErasedView},
        reactive::{dyn_flag, dyn_view, handler},
    },
};

/// Initial range of the slider; it widens to the server’s limit when the field holds more.
const STRENGTHS: Range = Range { min: -2.0, max: 2.0, step: 0.05 };

/// Name, version menu with `None`, strength.
#[component]
pub(super) fn Row(row: RowState, index: Signal<usize>) -> ErasedView {
    let page = Page::here();
    let name = row.adapter.get_value();
    let off = move || row.name.with(String::is_empty);
    let mut versions = vec![(String::new(), "None".to_owned())];
    page.adapters.with_value(|adapters| {
        let found = adapters.iter().find(|(known, _)| *known == name);
        let found = found.map(|(_, versions)| versions.as_slice()).unwrap_or_default();
        versions.extend(found.iter().map(|adapter| (adapter.id(), format!("v{}", adapter.version))));
    });
    let strength = Signal::derive(move || format!("adapters[{}].strength", index.get()));
    view! {
        <div class="adapter" class:off=dyn_flag(off) role="group" aria-label=format!("Adapter {name}")>
            <div class="adapter-head">
                <a class="adapter-name" href=format!("/adapters/{name}") title="View adapter">
                    {name.clone()}
                </a>
                <Menu
                    field=Signal::derive(move || format!("adapters[{}].name", index.get()))
                    value=row.name
                    options=versions
                    label=format!("Version of {name}")
                />
                <Remove name=name.clone() key=row.key />
            </div>
            <div class="strength">
                <Slider
                    label=format!("Strength of {name}")
                    value=row.strength
                    range=STRENGTHS
                    widest=page.model.with_value(|model| model.limits.strength)
                />
                <Line
                    field=strength
                    value=row.strength
                    keyboard="text"
                    class="count"
                    label=format!("Strength of {name}")
                />
            </div>
            <FieldProblem field=strength />
            <AdapterWarning row=row />
            <Trigger row=row />
        </div>
    }
    .erase()
}

/// Removes the row. Absent where every adapter has a permanent row.
#[component]
fn Remove(name: String, key: u32) -> ErasedView {
    let page = Page::here();
    if page.adapters.with_value(Vec::len) <= ROWS {
        return ().erase();
    }
    view! {
        <button
            type="button"
            class="icon-button live-only"
            aria-label=format!("Remove {name}")
            title="Remove"
            on:click=handler(move |_: MouseEvent| page.form.remove_row(key))
        >
            <Drawing icon=Icon::Close />
        </button>
    }
    .erase()
}

/// Warning about the selected version, such as layers that this model lacks; in full.
#[component]
fn AdapterWarning(row: RowState) -> ErasedView {
    let page = Page::here();
    dyn_view(move || {
        let id = row.name.get();
        let warning = page.adapters.with_value(|adapters| {
            let mut versions = adapters.iter().flat_map(|(_, versions)| versions);
            versions.find(|adapter| adapter.id() == id).and_then(|adapter| adapter.warning.clone())
        });
        warning.map(|warning| view! { <p class="notice">{warning}</p> })
    })
    .erase()
}

/// Offers the trigger word while the prompt lacks it.
#[component]
fn Trigger(row: RowState) -> ErasedView {
    let page = Page::here();
    let missing = Memo::new(move |_| {
        let id = row.name.get();
        let trigger = page.adapters.with_value(|adapters| {
            let mut versions = adapters.iter().flat_map(|(_, versions)| versions);
            versions.find(|adapter| adapter.id() == id).map(|adapter| adapter.trigger.clone())
        })?;
        let there = page.form.prompt.with(|prompt| form::holds(prompt, &trigger));
        (!there).then_some(trigger)
    });
    let add = move |_: MouseEvent| {
        if let Some(trigger) = missing.get_untracked() {
            page.form.prompt.update(|prompt| {
                let kept = prompt.trim_end_matches([' ', ',', '\n']).len();
                prompt.truncate(kept);
                prompt.push_str(if prompt.is_empty() { "" } else { ", " });
                prompt.push_str(&trigger);
            });
        }
    };
    dyn_view(move || {
        missing.get().map(|trigger| {
            view! {
                <p class="hint">
                    {format!("Trigger word: “{trigger}”. ")}
                    <button
                        type="button"
                        class="link live-only"
                        hidden=dyn_flag(move || page.form.prompt.with(|prompt| prompt.trim().is_empty()))
                        on:click=handler(add)
                    >
                        "Add to prompt"
                    </button>
                </p>
            }
        })
    })
    .erase()
}
