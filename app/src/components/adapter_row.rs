//! One adapter: which version, how strongly.

use leptos::{
    html::{Input, Select},
    prelude::*,
};

use super::{
    error::{FieldProblem, problem_id},
    icons::{Drawing, Icon},
    number::Slider,
};
use crate::{
    browser,
    form::id_of,
    state::{Page, RowState},
};

/// Name, version menu with `none`, strength.
#[component]
pub(crate) fn Row(row: RowState, index: Signal<usize>) -> impl IntoView {
    let page = Page::here();
    let name = row.adapter.get_value();
    let menu = NodeRef::<Select>::new();
    browser::tie(menu, row.name);
    let off = move || row.name.with(String::is_empty);
    let versions: Vec<_> = page.adapters.with_value(|adapters| {
        let found = adapters.iter().find(|(known, _)| *known == name);
        let versions = found.map(|(_, versions)| versions.as_slice()).unwrap_or_default();
        versions.iter().map(|adapter| (adapter.id(), adapter.version)).collect()
    });
    let options = versions
        .into_iter()
        .map(|(id, version)| {
            let selected = row.name.with_untracked(|name| *name == id);
            view! { <option value=id selected=selected>{format!("v{version}")}</option> }
        })
        .collect::<Vec<_>>();
    // Few adapters keep their row; those from the menu can go back there.
    let removable = page.adapters.with_value(Vec::len) > crate::state::ROWS;
    view! {
        <div class="adapter" class:off=off role="group" aria-label=format!("Adapter {name}")>
            <div class="adapter-head">
                <span class="adapter-name">{name.clone()}</span>
                <select
                    id=move || id_of(&format!("adapters[{}].name", index.get()))
                    name=move || format!("adapters[{}][name]", index.get())
                    aria-label=format!("Version of {name}")
                    autocomplete="off"
                    node_ref=menu
                    on:change=move |event| row.name.set(event_target_value(&event))
                >
                    <option value="" selected=untrack(off)>"none"</option>
                    {options}
                </select>
                {removable
                    .then(|| {
                        view! {
                            <button
                                type="button"
                                class="icon-button live-only"
                                aria-label=format!("Remove {name}")
                                title="Remove"
                                on:click=move |_| page.form.remove_row(row.key)
                            >
                                <Drawing icon=Icon::Close />
                            </button>
                        }
                    })}
            </div>
            <Strength row=row index=index name=name.clone() />
            <Trigger row=row />
        </div>
    }
}

/// How strongly the adapter works: −1 to 2 on the slider, −2 to 2 in the field.
#[component]
fn Strength(row: RowState, index: Signal<usize>, name: String) -> impl IntoView {
    let page = Page::here();
    let (field, slider) = (NodeRef::<Input>::new(), NodeRef::<Input>::new());
    browser::tie(field, row.strength);
    let key = move || format!("adapters[{}].strength", index.get());
    let is_wrong = move || page.form.error(&key()).is_some();
    view! {
        <div class="strength">
            <Slider
                label=format!("Strength of {name}")
                text=row.strength
                min=-1.0
                max=2.0
                step=0.05
                node_ref=slider
            />
            <input
                id=move || id_of(&key())
                name=move || format!("adapters[{}][strength]", index.get())
                type="text"
                inputmode="text"
                autocomplete="off"
                class="count"
                aria-label=format!("Strength of {name}")
                value=row.strength.get_untracked()
                aria-invalid=move || is_wrong().then_some("true")
                aria-describedby=move || is_wrong().then(|| problem_id(&key()))
                node_ref=field
                on:input=move |event| row.strength.set(event_target_value(&event))
            />
        </div>
        {move || view! { <FieldProblem field=key() /> }}
    }
}

/// Offers the words that call the style up, while the prompt lacks them.
#[component]
fn Trigger(row: RowState) -> impl IntoView {
    let page = Page::here();
    let missing = Memo::new(move |_| {
        let id = row.name.get();
        let trigger = page.adapters.with_value(|adapters| {
            let mut versions = adapters.iter().flat_map(|(_, versions)| versions);
            versions.find(|adapter| adapter.id() == id).map(|adapter| adapter.trigger.clone())
        })?;
        let there = page.form.prompt.with(|prompt| prompt.to_lowercase().contains(&trigger.to_lowercase()));
        (!trigger.is_empty() && !there).then_some(trigger)
    });
    let add = move |_| {
        if let Some(trigger) = missing.get_untracked() {
            page.form.prompt.update(|prompt| {
                let start = prompt.trim_end_matches([' ', ',', '\n']).len();
                prompt.truncate(start);
                prompt.push_str(if prompt.is_empty() { "" } else { ", " });
                prompt.push_str(&trigger);
            });
        }
    };
    move || {
        missing.get().map(|trigger| {
            view! {
                <p class="hint">
                    "Works with “" {trigger} "” in the prompt. "
                    <button type="button" class="link live-only" on:click=add>
                        "Add it"
                    </button>
                </p>
            }
        })
    }
}
