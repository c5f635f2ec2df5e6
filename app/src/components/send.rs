//! The button. It says what will happen and when; while a generation is under way it cancels.

use leptos::prelude::*;

use super::icons::{Drawing, Icon};
use crate::{
    state::Page,
    words::{forecast, pictures},
};

/// Generate, or Cancel in its place.
#[component]
pub(crate) fn Send() -> impl IntoView {
    let page = Page::here();
    let busy = Memo::new(move |_| page.stage.is_busy());
    view! {
        <div class="send">
            <button type="button" class="sheet-open" popovertarget="settings" aria-label="Settings" title="Settings">
                <Drawing icon=Icon::Settings />
            </button>
            {move || if busy.get() { view! { <Cancel /> }.into_any() } else { view! { <Make /> }.into_any() }}
        </div>
    }
}

#[component]
fn Make() -> impl IntoView {
    let page = Page::here();
    let work = Memo::new(move |_| page.work());
    let when = Memo::new(move |_| forecast(&page.stage.queue.get(), work.get()));
    view! {
        <button type="submit" class="primary" id="generate" disabled=page.stage.sending>
            <span class="what">{move || format!("Make {}", pictures(work.get().count))}</span>
            <span class="when">{when}</span>
        </button>
    }
}

/// Belongs to the form beside the composer, because a form inside another does not exist.
#[component]
fn Cancel() -> impl IntoView {
    let page = Page::here();
    let label = move || if page.stage.stopping.get() { "Stopping…" } else { "Cancel" };
    view! {
        <button type="submit" class="stop" id="cancel" form="cancel-form" disabled=page.stage.stopping>
            <span class="what">{label}</span>
        </button>
    }
}
