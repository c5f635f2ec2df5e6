//! Server functions: what the page asks of the studio, as small serde values. On the server they are called
//! directly while a page renders; from the browser, and from plain forms, over HTTP under `/api/fn`.

mod cancel;
mod error;
mod generate;
mod history;
mod json;
mod queue;
mod studio;

#[cfg(feature = "ssr")]
mod context;

pub(crate) use cancel::cancel;
pub(crate) use error::AppError;
pub(crate) use generate::generate;
pub(crate) use history::load_history;
pub(crate) use queue::load_queue;
#[cfg(feature = "ssr")]
pub(crate) use studio::data;
pub(crate) use studio::{StudioData, load_studio};

#[cfg(feature = "ssr")]
pub use context::StatusOf;
