//! One file per page.

#[cfg(feature = "ssr")]
mod adapters;
#[cfg(feature = "ssr")]
mod problem;
mod studio;

#[cfg(feature = "ssr")]
pub(crate) use adapters::{AdapterData, AdapterPage, AdaptersPage};
#[cfg(feature = "ssr")]
pub(crate) use problem::{NoAdapter, NotFound, Unavailable};
pub(crate) use studio::StudioPage;
#[cfg(feature = "ssr")]
pub(crate) use studio::title;
