//! One file per page.

#[cfg(feature = "ssr")]
mod adapters;
#[cfg(feature = "ssr")]
mod card;
#[cfg(feature = "ssr")]
mod code;
#[cfg(feature = "ssr")]
mod history;
#[cfg(feature = "ssr")]
mod problem;
#[cfg(feature = "ssr")]
mod share;
mod studio;
#[cfg(feature = "ssr")]
mod vote;

#[cfg(feature = "ssr")]
pub(crate) use adapters::{AdapterData, AdapterPage, AdaptersPage};
#[cfg(feature = "ssr")]
pub(crate) use card::{CardData, CardView};
#[cfg(feature = "ssr")]
pub(crate) use code::{CodeData, CodeView};
#[cfg(feature = "ssr")]
pub(crate) use history::{DeleteView, HistoryData, HistoryView};
#[cfg(feature = "ssr")]
pub(crate) use problem::{NoAdapter, NotFound, Unavailable};
#[cfg(feature = "ssr")]
pub(crate) use share::{ShareData, ShareView, TryData, TryView};
pub(crate) use studio::StudioPage;
#[cfg(feature = "ssr")]
pub(crate) use studio::title;
#[cfg(feature = "ssr")]
pub(crate) use vote::{VoteData, VoteView};
