//! A type-erased view, which every component returns.
//!
//! On the server this is leptos' [`AnyView`]. In the browser it is a smaller type: for each view it erases, `AnyView`
//! instantiates the code that hydrates it asynchronously and that rebuilds it in place. This page hydrates in one go and
//! replaces what changes, so that code would be a tenth of the download.

use leptos::{children::ToChildren, prelude::*};

#[cfg(any(feature = "ssr", feature = "leptos-erased"))]
pub(crate) type ErasedView = AnyView;

#[cfg(not(any(feature = "ssr", feature = "leptos-erased")))]
pub(crate) use in_the_browser::ErasedView;

/// Erases the type of a view.
pub(crate) trait EraseView {
    /// Erases the view's type.
    fn erase(self) -> ErasedView;
}

#[cfg(any(feature = "ssr", feature = "leptos-erased"))]
impl<V: IntoView> EraseView for V {
    fn erase(self) -> ErasedView {
        self.into_any()
    }
}

#[cfg(not(any(feature = "ssr", feature = "leptos-erased")))]
impl<V: IntoView + 'static> EraseView for V {
    fn erase(self) -> ErasedView {
        ErasedView::new(self)
    }
}

/// Children of a component.
pub(crate) struct ErasedChildren(Box<dyn FnOnce() -> ErasedView + Send>);

impl ErasedChildren {
    /// The view itself.
    pub(crate) fn view(self) -> ErasedView {
        (self.0)()
    }
}

impl<F, V> ToChildren<F> for ErasedChildren
where
    F: FnOnce() -> V + Send + 'static,
    V: IntoView + 'static,
{
    fn to_children(view: F) -> Self {
        Self(Box::new(move || view().erase()))
    }
}

#[cfg(not(any(feature = "ssr", feature = "leptos-erased")))]
mod in_the_browser {
    use leptos::{
        prelude::*,
        tachys::{
            html::attribute::{Attribute, any_attribute::AnyAttribute},
            hydration::Cursor,
            renderer::{
                Rndr,
                types::{Element, Node, Placeholder},
            },
            view::{Mountable, Position, PositionState, Render, RenderHtml, add_attr::AddAnyAttr},
        },
    };

    /// A view whose type is erased.
    pub(crate) struct ErasedView(Box<dyn Build + Send>);

    /// The operations that [`ErasedView`] needs from the view inside it.
    trait Build {
        fn build(self: Box<Self>) -> MountedView;
        fn hydrate(self: Box<Self>, cursor: &Cursor, position: &PositionState) -> MountedView;
    }

    /// The mounted state of an [`ErasedView`].
    pub(crate) struct MountedView {
        nodes: Box<dyn Mountable>,
        /// Marks the position of a view without nodes.
        placeholder: Option<Placeholder>,
    }

    impl<V: IntoView + 'static> Build for V {
        fn build(self: Box<Self>) -> MountedView {
            let nodes = Box::new(Render::build(*self));
            MountedView { nodes, placeholder: (!V::EXISTS).then(Rndr::create_placeholder) }
        }

        fn hydrate(self: Box<Self>, cursor: &Cursor, position: &PositionState) -> MountedView {
            let nodes = Box::new(RenderHtml::hydrate::<true>(*self, cursor, position));
            // `AnyView` writes a comment after what does not exist.
            MountedView { nodes, placeholder: (!V::EXISTS).then(|| cursor.next_placeholder(position)) }
        }
    }

    impl ErasedView {
        pub(super) fn new(view: impl IntoView + 'static) -> Self {
            Self(Box::new(view))
        }
    }

    impl Render for ErasedView {
        type State = MountedView;

        fn build(self) -> MountedView {
            self.0.build()
        }

        fn rebuild(self, state: &mut MountedView) {
            let mut new = self.0.build();
            state.insert_before_this(&mut new);
            state.unmount();
            *state = new;
        }
    }

    impl Mountable for MountedView {
        fn unmount(&mut self) {
            self.nodes.unmount();
            if let Some(placeholder) = &mut self.placeholder {
                placeholder.unmount();
            }
        }

        fn mount(&mut self, parent: &Element, marker: Option<&Node>) {
            self.nodes.mount(parent, marker);
            if let Some(placeholder) = &mut self.placeholder {
                placeholder.mount(parent, marker);
            }
        }

        fn insert_before_this(&self, child: &mut dyn Mountable) -> bool {
            self.nodes.insert_before_this(child)
                || self.placeholder.as_ref().is_some_and(|placeholder| placeholder.insert_before_this(child))
        }

        fn elements(&self) -> Vec<Element> {
            self.nodes.elements()
        }
    }

    impl RenderHtml for ErasedView {
        type AsyncOutput = Self;
        type Owned = Self;
        const MIN_LENGTH: usize = 0;

        fn dry_resolve(&mut self) {}

        async fn resolve(self) -> Self {
            self
        }

        /// Never called: on the server [`ErasedView`] is leptos' `AnyView`.
        fn to_html_with_buf(self, _: &mut String, _: &mut Position, _: bool, _: bool, _: Vec<AnyAttribute>) {}

        fn hydrate<const FROM_SERVER: bool>(self, cursor: &Cursor, position: &PositionState) -> MountedView {
            self.0.hydrate(cursor, position)
        }

        fn into_owned(self) -> Self {
            self
        }
    }

    impl AddAnyAttr for ErasedView {
        type Output<New: Attribute> = Self;

        /// Attributes are never added to a component from outside.
        fn add_any_attr<New: Attribute>(self, _: New) -> Self {
            self
        }
    }
}
