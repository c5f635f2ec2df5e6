//! The seed. An empty field means a new one for each picture; a number is kept until it is taken out, which is
//! what the lock shows.

use leptos::{html::Input, prelude::*};

use super::{
    error::{FieldProblem, wrong},
    icons::{Drawing, Icon},
};
use crate::{browser, state::Page};

/// Number, dice, lock.
#[component]
pub(crate) fn Seed() -> impl IntoView {
    let page = Page::here();
    let text = page.form.seed;
    let field = NodeRef::<Input>::new();
    browser::tie(field, text);
    let (invalid, described) = wrong("seed");
    let locked = Memo::new(move |_| !text.get().trim().is_empty());
    let last = move || page.stage.shown.with(|shown| shown.as_ref().map(|shown| shown.recipe.spec.seed));
    let placeholder = move || match last() {
        Some(last) => format!("new each time · last {last}"),
        None => "new each time".to_owned(),
    };
    let toggle = move |_| {
        let next = if locked.get() { String::new() } else { last().unwrap_or_else(roll).to_string() };
        text.set(next);
    };
    view! {
        <div class="row">
            <label for="field-seed">"Seed"</label>
            <div class="seed">
                <input
                    id="field-seed"
                    name="seed"
                    type="text"
                    inputmode="numeric"
                    autocomplete="off"
                    value=text.get_untracked()
                    placeholder=placeholder
                    aria-invalid=invalid
                    aria-describedby=described
                    node_ref=field
                    on:input=move |event| text.set(event_target_value(&event))
                />
                <button
                    type="button"
                    class="icon-button live-only"
                    title="Roll a seed and keep it"
                    aria-label="Roll a seed and keep it"
                    on:click=move |_| text.set(roll().to_string())
                >
                    <Drawing icon=Icon::Dice />
                </button>
                <button
                    type="button"
                    class="icon-button live-only"
                    title=move || if locked.get() { "Let the seed change" } else { "Keep the last seed" }
                    aria-label="Keep the seed"
                    aria-pressed=move || if locked.get() { "true" } else { "false" }
                    on:click=toggle
                >
                    <Drawing icon=Signal::derive(move || {
                        if locked.get() { Icon::Locked } else { Icon::Unlocked }
                    }) />
                </button>
            </div>
            <FieldProblem field="seed" />
        </div>
    }
}

/// A seed as A1111 rolls them, 0 to 2³² − 1. Only called in the browser.
fn roll() -> u64 {
    (js_sys::Math::random() * 4_294_967_296.0) as u64
}
