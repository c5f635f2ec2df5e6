//! Star and thumbs of an image: a plain form, which a script sends on its own.

use adire_protocol::{Rating, Thumb};
use leptos::{ev::MouseEvent, prelude::*};

use super::icons::{Drawing, Icon};
use crate::{
    state::Page,
    thin::{
        erased::{EraseView, ErasedView},
        reactive::{dyn_text, handler},
    },
};

/// What a button changes.
#[derive(Clone, Copy)]
enum Mark {
    Star,
    Thumb(Thumb),
}

impl Mark {
    fn is_set(self, rating: Rating) -> bool {
        match self {
            Self::Star => rating.starred,
            Self::Thumb(thumb) => rating.thumb == Some(thumb),
        }
    }

    /// The rating once the button has been pressed.
    fn toggled(self, rating: Rating) -> Rating {
        match self {
            Self::Star => Rating { starred: !rating.starred, ..rating },
            Self::Thumb(thumb) => Rating { thumb: (rating.thumb != Some(thumb)).then_some(thumb), ..rating },
        }
    }

    /// What its button sends in a form.
    fn value(self, rating: Rating) -> &'static str {
        match (self, self.is_set(rating)) {
            (Self::Star, true) => "off",
            (Self::Star, false) => "on",
            (Self::Thumb(_), true) => "none",
            (Self::Thumb(Thumb::Up), false) => "up",
            (Self::Thumb(Thumb::Down), false) => "down",
        }
    }
}

/// The form of the image at `address`. `studio`: the studio page comes back, not the image's own page.
#[component]
pub(crate) fn Rate(
    #[prop(into)] address: String,
    #[prop(into)] rating: Signal<Rating>,
    #[prop(optional)] studio: bool,
) -> ErasedView {
    // There is none on the image's own page, which has no script.
    let page = use_context::<Page>();
    let button = move |mark: Mark, name: &'static str, label: &'static str, icon: Icon| {
        let press = move |event: MouseEvent| {
            if let Some(page) = page {
                event.prevent_default();
                page.rate(mark.toggled(rating.get_untracked()));
            }
        };
        view! {
            <button
                type="submit"
                class="icon-button star"
                name=name
                value=dyn_text(move || mark.value(rating.get()).to_owned())
                aria-label=label
                title=label
                aria-pressed=dyn_text(move || mark.is_set(rating.get()).to_string())
                on:click=handler(press)
            >
                <Drawing icon=icon />
            </button>
        }
        .erase()
    };
    let back = studio.then(|| view! { <input type="hidden" name="back" value="studio" /> });
    view! {
        <form method="post" action=address class="rate" aria-label="Rating">
            <input type="hidden" name="action" value="rate" />
            {back}
            {button(Mark::Star, "star", "Star", Icon::Star)}
            {button(Mark::Thumb(Thumb::Up), "thumb", "Thumbs up", Icon::ThumbUp)}
            {button(Mark::Thumb(Thumb::Down), "thumb", "Thumbs down", Icon::ThumbDown)}
        </form>
    }
    .erase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_button_pressed_twice_changes_nothing() {
        let marks = [Mark::Star, Mark::Thumb(Thumb::Up), Mark::Thumb(Thumb::Down)];
        for starred in [false, true] {
            for thumb in [None, Some(Thumb::Up)] {
                let rating = Rating { starred, thumb };
                for mark in marks {
                    let once = mark.toggled(rating);
                    assert_ne!(mark.is_set(once), mark.is_set(rating));
                }
                assert_eq!(Mark::Star.toggled(Mark::Star.toggled(rating)), rating);
            }
        }
        let up = Mark::Thumb(Thumb::Up).toggled(Rating::default());
        assert_eq!(Mark::Thumb(Thumb::Down).toggled(up).thumb, Some(Thumb::Down));
        assert_eq!(Mark::Thumb(Thumb::Up).value(up), "none");
    }
}
