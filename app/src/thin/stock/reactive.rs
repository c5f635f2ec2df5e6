//! [`reactive`](super) with Leptos' own: closures go into `view!` as they are, each as a type of its own.

use leptos::prelude::*;

/// Text, as an attribute or a child.
pub(crate) fn dyn_text(
    value: impl Fn() -> String + Send + Sync + 'static,
) -> impl Fn() -> String + Send + Sync + 'static {
    value
}

/// An attribute that may be absent.
pub(crate) fn dyn_attr(
    value: impl Fn() -> Option<String> + Send + Sync + 'static,
) -> impl Fn() -> Option<String> + Send + Sync + 'static {
    value
}

/// A boolean attribute, class or property.
pub(crate) fn dyn_flag(
    value: impl Fn() -> bool + Send + Sync + 'static,
) -> impl Fn() -> bool + Send + Sync + 'static {
    value
}

/// A view that is rebuilt when a signal it reads changes.
pub(crate) fn dyn_view<V: IntoView + 'static>(
    view: impl FnMut() -> V + Send + 'static,
) -> impl FnMut() -> V + Send + 'static {
    view
}

/// An event handler.
pub(crate) fn handler<E: 'static>(handler: impl FnMut(E) + 'static) -> impl FnMut(E) + 'static {
    handler
}
