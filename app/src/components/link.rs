//! A link with an action on this page; without a script, or in a new tab, its address has the same effect.

use leptos::{ev::MouseEvent, prelude::*};

use crate::thin::{
    erased::{EraseView, ErasedChildren, ErasedView},
    reactive::{dyn_attr, dyn_text, handler},
};

/// A link whose click runs `action` instead of loading `href`.
#[component]
pub(super) fn Link(
    #[prop(into)] href: Signal<String>,
    class: &'static str,
    #[prop(optional, into)] title: Option<String>,
    /// Whether it points at what is shown now.
    #[prop(optional, into)]
    current: Option<Signal<bool>>,
    action: Box<dyn Fn()>,
    children: ErasedChildren,
) -> ErasedView {
    let click = move |event: MouseEvent| {
        // With a modifier key the browser opens another tab or window.
        if !(event.ctrl_key() || event.meta_key() || event.shift_key()) {
            event.prevent_default();
            action();
        }
    };
    let current = move || current.is_some_and(|current| current.get()).then(|| "true".to_owned());
    view! {
        <a class=class href=dyn_text(move || href.get()) title=title aria-current=dyn_attr(current) on:click=handler(click)>
            {children.view()}
        </a>
    }
    .erase()
}
