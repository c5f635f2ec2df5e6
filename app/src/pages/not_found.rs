//! What an unknown address shows.

use leptos::prelude::*;

/// A sentence and the way back.
#[component]
pub(crate) fn NotFound() -> impl IntoView {
    view! {
        <main class="not-found">
            <h1>"Nothing is here"</h1>
            <p>"This address leads nowhere. " <a href="/">"Go to the studio"</a> "."</p>
        </main>
    }
}
