//! The studio: a prompt, a picture.

use leptos::prelude::*;

/// The page at `/`.
#[component]
pub(crate) fn StudioPage() -> impl IntoView {
    view! {
        <main>
            <h1>"Studio"</h1>
        </main>
    }
}
