//! Error pages, without any script.

use leptos::prelude::*;

/// An unknown address.
#[component]
pub(crate) fn NotFound() -> impl IntoView {
    view! {
        <main class="not-found">
            <h1>"Page not found"</h1>
            <p>"Nothing at this address. " <a href="/">"Go to the studio"</a> "."</p>
        </main>
    }
}

/// The studio's data could not be loaded.
#[component]
pub(crate) fn Unavailable(message: String) -> impl IntoView {
    view! {
        <main class="not-found">
            <h1>"Couldn't load the studio"</h1>
            <p>{message}</p>
            <p>
                <a href="/">"Try again"</a>
            </p>
        </main>
    }
}

/// An unknown adapter name.
#[component]
pub(crate) fn NoAdapter(message: String) -> impl IntoView {
    view! {
        <main class="not-found">
            <h1>"Adapter not found"</h1>
            <p>{message}</p>
            <p>
                <a href="/adapters">"View all adapters"</a>
            </p>
        </main>
    }
}
