//! A few fixed types for what changes on the page. A closure has a type of its own, and for each type of attribute
//! or child the page would download leptos' machinery once more; behind these, all closures share it.

use std::sync::Arc;

use leptos::prelude::*;

use super::erased::{EraseView, ErasedView};

/// Text, as an attribute or a child.
pub(super) fn dyn_text(
    value: impl Fn() -> String + Send + Sync + 'static,
) -> Arc<dyn Fn() -> String + Send + Sync> {
    Arc::new(value)
}

/// An attribute that may be absent.
pub(super) fn dyn_attr(
    value: impl Fn() -> Option<String> + Send + Sync + 'static,
) -> Arc<dyn Fn() -> Option<String> + Send + Sync> {
    Arc::new(value)
}

/// An attribute, class or property that is there or not.
pub(super) fn dyn_flag(
    value: impl Fn() -> bool + Send + Sync + 'static,
) -> Arc<dyn Fn() -> bool + Send + Sync> {
    Arc::new(value)
}

/// A part of the page that is put up anew when something it reads changes.
pub(super) fn dyn_view<V: IntoView + 'static>(
    mut view: impl FnMut() -> V + Send + 'static,
) -> Box<dyn FnMut() -> ErasedView + Send> {
    Box::new(move || view().erase())
}

/// What happens at an event.
pub(super) fn handler<E: 'static>(handler: impl FnMut(E) + 'static) -> Box<dyn FnMut(E)> {
    Box::new(handler)
}
