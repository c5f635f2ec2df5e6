//! The seed. An empty field means a random seed for each generation; a number stays until it is cleared, which the lock
//! shows.

use leptos::{ev::MouseEvent, prelude::*};

use super::{
    error::FieldProblem,
    field::Line,
    icons::{Drawing, Icon},
};
use crate::{
    state::Page,
    thin::{
        erased::{EraseView, ErasedView},
        reactive::{dyn_text, handler},
    },
};

/// Number, dice, lock.
#[component]
pub(super) fn Seed() -> ErasedView {
    let page = Page::here();
    let seed = page.form.seed;
    let locked = Memo::new(move |_| !seed.get().trim().is_empty());
    let last = move || page.workspace.shown.with(|shown| shown.as_ref().map(|shown| shown.recipe.spec.seed));
    let placeholder = Signal::derive(move || match last() {
        Some(last) => format!("Random (last {last})"),
        None => "Random".to_owned(),
    });
    let toggle = move |_: MouseEvent| {
        let next = if locked.get() { String::new() } else { last().unwrap_or_else(roll).to_string() };
        seed.set(next);
    };
    let locks = move || if locked.get() { "Unlock seed" } else { "Lock last seed" };
    view! {
        <div class="row">
            <label for="field-seed">"Seed"</label>
            <div class="seed">
                <Line field="seed" value=seed keyboard="numeric" placeholder=placeholder />
                <button
                    type="button"
                    class="icon-button live-only"
                    title="Pick a random seed"
                    aria-label="Pick a random seed"
                    on:click=handler(move |_: MouseEvent| seed.set(roll().to_string()))
                >
                    <Drawing icon=Icon::Dice />
                </button>
                <button
                    type="button"
                    class="icon-button live-only"
                    title=dyn_text(move || locks().to_owned())
                    aria-label="Lock seed"
                    aria-pressed=dyn_text(move || locked.get().to_string())
                    on:click=handler(toggle)
                >
                    <Drawing icon=Signal::derive(move || {
                        if locked.get() { Icon::Locked } else { Icon::Unlocked }
                    }) />
                </button>
            </div>
            <FieldProblem field="seed" />
        </div>
    }
    .erase()
}

/// A seed as A1111 rolls them, 0 to 2³² − 1. Only called in the browser.
fn roll() -> u64 {
    (js_sys::Math::random() * 4_294_967_296.0) as u64
}
