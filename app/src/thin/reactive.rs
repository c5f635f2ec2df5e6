//! Type-erased closures for attributes, children and event handlers. Each closure has its own type, and leptos' code is
//! instantiated once per type; behind these types all closures share one instance, which keeps the wasm small.

use std::sync::Arc;

use leptos::prelude::*;

use super::erased::{EraseView, ErasedView};

/// Text, as an attribute or a child.
pub(crate) fn dyn_text(
    value: impl Fn() -> String + Send + Sync + 'static,
) -> Arc<dyn Fn() -> String + Send + Sync> {
    Arc::new(value)
}

/// An attribute that may be absent.
pub(crate) fn dyn_attr(
    value: impl Fn() -> Option<String> + Send + Sync + 'static,
) -> Arc<dyn Fn() -> Option<String> + Send + Sync> {
    Arc::new(value)
}

/// A boolean attribute, class or property.
pub(crate) fn dyn_flag(
    value: impl Fn() -> bool + Send + Sync + 'static,
) -> Arc<dyn Fn() -> bool + Send + Sync> {
    Arc::new(value)
}

/// A view that is rebuilt when a signal it reads changes.
pub(crate) fn dyn_view<V: IntoView + 'static>(
    mut view: impl FnMut() -> V + Send + 'static,
) -> Box<dyn FnMut() -> ErasedView + Send> {
    Box::new(move || view().erase())
}

/// An event handler.
pub(crate) fn handler<E: 'static>(handler: impl FnMut(E) + 'static) -> Box<dyn FnMut(E)> {
    Box::new(handler)
}
