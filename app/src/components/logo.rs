//! The logo: a disc with a ring and a dot.

use leptos::prelude::*;

/// The logo.
pub(crate) fn logo() -> impl IntoView {
    view! {
        <svg viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">
            <circle cx="12" cy="12" r="10.5" />
            <circle cx="12" cy="12" r="6" class="ring" />
            <circle cx="12" cy="12" r="2" class="dot" />
        </svg>
    }
}
