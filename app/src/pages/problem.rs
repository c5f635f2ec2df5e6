//! What a browser is shown where there is no page to show. Without any script.

use leptos::prelude::*;

/// An unknown address: a sentence and the way back.
#[component]
pub(crate) fn NotFound() -> impl IntoView {
    view! {
        <main class="not-found">
            <h1>"Nothing is here"</h1>
            <p>"This address leads nowhere. " <a href="/">"Go to the studio"</a> "."</p>
        </main>
    }
}

/// The studio's data cannot be read.
#[component]
pub(crate) fn Unavailable(message: String) -> impl IntoView {
    view! {
        <main class="not-found">
            <h1>"The studio cannot be opened"</h1>
            <p>{message}</p>
            <p>
                <a href="/">"Try again"</a>
            </p>
        </main>
    }
}

/// No adapter has that name.
#[component]
pub(crate) fn NoAdapter(message: String) -> impl IntoView {
    view! {
        <main class="not-found">
            <h1>"There is no such adapter"</h1>
            <p>{message}</p>
            <p>
                <a href="/adapters">"See all adapters"</a>
            </p>
        </main>
    }
}
