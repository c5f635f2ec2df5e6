//! The page's calls to the studio, as small serde values. On the server these are server functions under
//! `/api/fn`; `thin::client` is how the browser calls them. The initial data is embedded in the document.

#[cfg(feature = "ssr")]
mod cancel;
#[cfg(feature = "ssr")]
mod delete;
mod error;
#[cfg(feature = "ssr")]
mod generate;
#[cfg(feature = "ssr")]
mod history;
#[cfg(feature = "ssr")]
mod json;
#[cfg(feature = "ssr")]
mod queue;
mod studio;

#[cfg(feature = "ssr")]
mod context;

#[cfg(feature = "ssr")]
pub use self::{
    context::StatusOf,
    generate::{FormPost, UploadError, submit_form_post},
};
pub(crate) use error::AppError;
pub(crate) use studio::StudioData;
#[cfg(feature = "ssr")]
pub(crate) use studio::{DATA_ID, data};
