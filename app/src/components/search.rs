//! A field that finds an adapter among many: by its name, its trigger words, its versions or its description. A
//! combobox as ARIA describes it: the arrows move, Enter takes, Escape closes, the focus stays in the field.

use adire_protocol::AdapterVersion;
use leptos::{
    ev::{Event, FocusEvent, KeyboardEvent, MouseEvent},
    html::Input,
    prelude::*,
};

use super::{
    kinds::{flag, maybe, on, part, text},
    piece::{IntoPiece, Piece},
};
use crate::{browser, form, state::Page};

/// Most entries of the list; whoever looks for one of more types another letter.
const MOST: usize = 50;

/// One adapter of the list.
#[derive(Clone, PartialEq)]
struct Entry {
    /// `name@vN` of the newest version.
    id: String,
    name: String,
    trigger: String,
    /// `v3, v2, v1`.
    versions: String,
}

impl Entry {
    fn of(name: &str, versions: &[AdapterVersion]) -> Option<Self> {
        let newest = versions.first()?;
        let numbers: Vec<_> = versions.iter().map(|version| format!("v{}", version.version)).collect();
        Some(Self {
            id: newest.id(),
            name: name.to_owned(),
            trigger: newest.trigger.clone(),
            versions: numbers.join(", "),
        })
    }
}

/// What is found, and how many there are in all.
#[derive(Clone, PartialEq)]
struct Found {
    shown: Vec<Entry>,
    all: usize,
}

/// The field and its list. `absent`: the adapters that may be added.
#[component]
pub(super) fn Search(absent: Signal<Vec<String>>) -> Piece {
    let page = Page::here();
    let field = NodeRef::<Input>::new();
    let (open, query, active) = (RwSignal::new(false), RwSignal::new(String::new()), RwSignal::new(0usize));
    let found = Memo::new(move |_| {
        let (absent, query) = (absent.get(), query.get());
        page.adapters.with_value(|adapters| {
            let mut found = Found { shown: Vec::new(), all: 0 };
            for (name, versions) in adapters.iter().filter(|(name, _)| absent.contains(name)) {
                let Some(entry) = Entry::of(name, versions) else { continue };
                let described = versions.first().map_or("", |newest| newest.description.as_str());
                let words = format!("{name} {} {} {described}", entry.trigger, entry.versions);
                if form::matches(&words, &query) {
                    found.all += 1;
                    if found.shown.len() < MOST {
                        found.shown.push(entry);
                    }
                }
            }
            found
        })
    });
    let close = move || {
        open.set(false);
        active.set(0);
    };
    let add = move |entry: &Entry| {
        page.form.switch_on(entry.id.clone());
        page.stage.said.set(format!("The adapter {} is chosen.", entry.name));
        query.set(String::new());
        if let Some(field) = field.get_untracked() {
            field.set_value("");
        }
        close();
    };
    let typed = move |event: Event| {
        query.set(event_target_value(&event));
        active.set(0);
        open.set(true);
    };
    let pressed = move |event: KeyboardEvent| {
        let (many, at) = (found.with_untracked(|found| found.shown.len()), active.get_untracked());
        let is_open = open.get_untracked();
        match event.key().as_str() {
            "ArrowDown" | "ArrowUp" if many > 0 => {
                let down = event.key() == "ArrowDown";
                active.set(match (is_open, down) {
                    (false, true) => 0,
                    (false, false) => many - 1,
                    (true, true) => (at + 1) % many,
                    (true, false) => (at + many - 1) % many,
                });
                open.set(true);
                browser::reveal(&option_id(active.get_untracked()));
            }
            // In a form Enter would send it.
            "Enter" if !(event.ctrl_key() || event.meta_key()) => {
                if let Some(entry) =
                    found.with_untracked(|found| found.shown.get(at).cloned()).filter(|_| is_open)
                {
                    add(&entry);
                }
            }
            "Escape" if is_open => close(),
            _ => return,
        }
        event.prevent_default();
    };
    let list = move || {
        open.get().then(|| {
            let entries = found.get().shown.into_iter().enumerate().map(|(at, entry)| {
                let take = entry.clone();
                view! {
                    <li
                        role="option"
                        id=option_id(at)
                        aria-selected=text(move || (active.get() == at).to_string())
                        on:click=on(move |_: MouseEvent| add(&take))
                    >
                        <b>{entry.name}</b>
                        <span>{entry.trigger}</span>
                        <small>{entry.versions}</small>
                    </li>
                }
            });
            entries.collect::<Vec<_>>()
        })
    };
    let told = move || {
        if !open.get() {
            return String::new();
        }
        found.with(|found| match found.all {
            0 => "No adapter has these words.".to_owned(),
            all if all > MOST => format!("{MOST} of {all} adapters; type to find others."),
            1 => "1 adapter.".to_owned(),
            all => format!("{all} adapters."),
        })
    };
    let pointed = move || open.get().then(|| option_id(active.get()));
    view! {
        <div class="search">
            <input
                type="text"
                id="adapter-search"
                role="combobox"
                aria-label="Add an adapter"
                aria-autocomplete="list"
                aria-controls="adapter-list"
                aria-expanded=text(move || open.get().to_string())
                aria-activedescendant=maybe(pointed)
                autocomplete="off"
                placeholder="Add an adapter: name or trigger word"
                node_ref=field
                on:input=on(typed)
                on:keydown=on(pressed)
                on:click=on(move |_: MouseEvent| open.set(true))
                on:blur=on(move |_: FocusEvent| close())
            />
            <div class="found" hidden=flag(move || !open.get())>
                // A press must not take the focus from the field: the list would close before it is chosen from.
                <ul
                    role="listbox"
                    id="adapter-list"
                    aria-label="Adapters"
                    on:mousedown=on(|event: MouseEvent| event.prevent_default())
                >
                    {part(list)}
                </ul>
                <p class="hint" role="status">
                    {text(told)}
                </p>
            </div>
        </div>
    }
    .into_piece()
}

fn option_id(at: usize) -> String {
    format!("adapter-option-{at}")
}
