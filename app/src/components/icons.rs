//! Small line drawings, 20 × 20, in the colour of the text around them.

use leptos::prelude::*;

use crate::thin::{
    erased::{EraseView, ErasedView},
    reactive::dyn_text,
};

/// Every icon of the page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icon {
    Close,
    Copy,
    Dice,
    Download,
    Locked,
    Reuse,
    Settings,
    Star,
    Start,
    ThumbDown,
    ThumbUp,
    Unlocked,
}

impl Icon {
    fn path(self) -> &'static str {
        match self {
            Self::Close => "M5 5l10 10M15 5L5 15",
            Self::Copy => "M7.5 7.5h9v9h-9zM4.5 12.5h-1v-9h9v1",
            Self::Dice => {
                "M5 3h10a2 2 0 012 2v10a2 2 0 01-2 2H5a2 2 0 01-2-2V5a2 2 0 012-2zM7 7h.01M13 7h.01M10 10h.01M7 13h.01M13 13h.01"
            }
            Self::Download => "M10 3v9.5M6 8.5l4 4 4-4M3.5 16.5h13",
            Self::Locked => "M5 9h10v8H5zM7 9V6.5a3 3 0 016 0V9",
            Self::Reuse => "M4 8.5h9a3.5 3.5 0 010 7H8M7 5L3.5 8.5 7 12",
            Self::Settings => "M3 6h7M14 6h3M3 14h3M10 14h7M12 4v4M8 12v4",
            Self::Star => "M10 2.8l2.2 4.6 5 .7-3.6 3.5.9 5L10 14.2l-4.5 2.4.9-5L2.8 8.1l5-.7z",
            Self::Start => "M3.5 4.5h13v11h-13zM3.5 13l4-4 3.5 3.5 2-2 3.5 3.5M13 7.5h.01",
            Self::ThumbDown => {
                "M3.5 11h3V3.5h-3zM6.5 10.5l3 6.5c1.4 0 2.2-1 2-2.3L11 12h4.4c1 0 1.7-.9 1.5-1.9l-1-5c-.2-1-.9-1.6-1.8-1.6H6.5"
            }
            Self::ThumbUp => {
                "M3.5 9h3v7.5h-3zM6.5 9.5l3-6.5c1.4 0 2.2 1 2 2.3L11 8h4.4c1 0 1.7.9 1.5 1.9l-1 5c-.2 1-.9 1.6-1.8 1.6H6.5"
            }
            Self::Unlocked => "M5 9h10v8H5zM7 9V6.5a3 3 0 015.6-1.5",
        }
    }
}

/// Draws an icon; it says nothing to screen readers, the control around it does.
#[component]
pub(crate) fn Drawing(#[prop(into)] icon: Signal<Icon>) -> ErasedView {
    view! {
        <svg class="icon" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
            <path d=dyn_text(move || icon.get().path().to_owned()) />
        </svg>
    }
    .erase()
}
