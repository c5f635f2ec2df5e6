//! Drawings of ratings.

use leptos::prelude::*;

fn drawing(path: &'static str) -> AnyView {
    view! {
        <svg class="icon" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
            <path d=path />
        </svg>
    }
    .into_any()
}

/// A star.
pub(super) fn star() -> AnyView {
    drawing("M10 2.8l2.2 4.6 5 .7-3.6 3.5.9 5L10 14.2l-4.5 2.4.9-5L2.8 8.1l5-.7z")
}

/// A thumb, up.
pub(super) fn thumb_up() -> AnyView {
    drawing(
        "M3.5 9h3v7.5h-3zM6.5 9.5l3-6.5c1.4 0 2.2 1 2 2.3L11 8h4.4c1 0 1.7.9 1.5 1.9l-1 5c-.2 1-.9 1.6-1.8 1.6H6.5",
    )
}

/// A thumb, down.
pub(super) fn thumb_down() -> AnyView {
    drawing(
        "M3.5 11h3V3.5h-3zM6.5 10.5l3 6.5c1.4 0 2.2-1 2-2.3L11 12h4.4c1 0 1.7-.9 1.5-1.9l-1-5c-.2-1-.9-1.6-1.8-1.6H6.5",
    )
}
