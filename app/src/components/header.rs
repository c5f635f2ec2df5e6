//! The bar at the top.

use leptos::{
    ev::{Event, MouseEvent},
    html::Select,
    prelude::*,
};

use super::{keys::show_keys, logo::logo};
use crate::{
    browser::{self, Theme},
    request::{current_theme, shows_admin},
    thin::{
        erased::{EraseView, ErasedView},
        reactive::handler,
    },
};

/// Name of the program, name of the model, and links and settings of the whole page.
#[component]
pub(crate) fn Header(
    /// The loaded model.
    model: String,
) -> ErasedView {
    view! {
        <header class="bar">
            <h1>
                <a href="/">
                    {logo()}
                    "Adire"
                </a>
            </h1>
            <span class="model" title="Loaded model">
                {model}
            </span>
            <span class="bar-end">
                <a class="quiet history-link" href="/history">
                    "History"
                </a>
                <a class="quiet" href="/adapters">
                    "Adapters"
                </a>
                <a class="quiet" href="/admin" hidden=!shows_admin()>
                    "Admin"
                </a>
                <button type="button" class="quiet live-only keys-button" on:click=handler(|_: MouseEvent| show_keys())>
                    "Shortcuts"
                </button>
                <ThemeMenu />
            </span>
        </header>
    }
    .erase()
}

#[component]
fn ThemeMenu() -> ErasedView {
    let now = current_theme();
    let menu = NodeRef::<Select>::new();
    let change = move |_: Event| {
        let chosen = menu.get_untracked().map(|menu| menu.value()).unwrap_or_default();
        browser::set_theme(Theme::ALL.into_iter().find(|theme| theme.name() == chosen).unwrap_or_default());
    };
    let options = Theme::ALL.map(|theme| {
        let label = match theme {
            Theme::Auto => "Auto",
            Theme::Light => "Light",
            Theme::Dark => "Dark",
        };
        view! { <option value=theme.name() selected=theme == now>{label}</option> }
    });
    view! {
        <select class="quiet live-only" aria-label="Theme" autocomplete="off" node_ref=menu on:change=handler(change)>
            {options.into_iter().collect::<Vec<_>>()}
        </select>
    }
    .erase()
}
