//! Line drawings of the admin pages, 20 × 20, in the colour of the text around them.

use leptos::prelude::*;

#[derive(Clone, Copy)]
pub(super) enum Icon {
    Overview,
    Datasets,
    Training,
    Studio,
    SignOut,
    Add,
    Upload,
    Queue,
    Monitoring,
    Versions,
    Evaluation,
    Tokens,
    Wildcards,
    Pass,
    Fail,
    Inconclusive,
}

impl Icon {
    fn path(self) -> &'static str {
        match self {
            Self::Overview => "M3.5 3.5h5.5v7H3.5zM11.5 3.5h5v4h-5zM11.5 10h5v6.5h-5zM3.5 13h5.5v3.5H3.5z",
            Self::Datasets => "M3.5 6.5h10v10h-10zM6.5 6.5v-3h10v10h-3M3.5 13.5l3-3 4 4",
            Self::Training => "M3.5 3.5v13h13M6 6c1.5 5 4 7 10 7.5",
            Self::Studio => "M3.5 4.5h13v11h-13zM3.5 12.5l3.5-3.5 6.5 6.5M13 8h.01",
            Self::SignOut => "M8 3.5H4v13h4M12 6.5l3.5 3.5-3.5 3.5M15.5 10H8",
            Self::Queue => "M3.5 5h9M3.5 10h13M3.5 15h6",
            Self::Monitoring => "M2.5 10.5h3.5l2.5-6 4 11 2-5h3",
            Self::Versions => "M10 3.5l6.5 3.5L10 10.5 3.5 7zM3.5 10.5L10 14l6.5-3.5M3.5 13.5L10 17l6.5-3.5",
            Self::Evaluation => "M10 4v12M6 16.5h8M3.5 6h13M3.5 6L2 11h4zM16.5 6L15 11h4z",
            Self::Wildcards => "M10 3.5v13M4.5 6.5l11 7M4.5 13.5l11-7",
            Self::Tokens => "M9 11a4 4 0 1 1 1-3.5l6.5 6.5v2.5H14v-2h-2v-2zM6 7h.01",
            Self::Pass => "M4.5 10.5l3.5 3.5 7.5-8",
            Self::Fail => "M5 5l10 10M15 5L5 15",
            Self::Inconclusive => "M3.5 11.5c2-4 4.5-4 6.5-1.5s4.5 2.5 6.5-1.5",
            Self::Add => "M10 4v12M4 10h12",
            Self::Upload => "M10 13V4M6.5 7.5L10 4l3.5 3.5M4 13v3h12v-3",
        }
    }

    /// Says nothing to screen readers; the words beside it do.
    pub(super) fn draw(self) -> impl IntoView {
        view! {
            <svg class="icon" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
                <path d=self.path() />
            </svg>
        }
    }
}
