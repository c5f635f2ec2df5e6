//! Adire's pages: the same components render on the server and hydrate in the browser. Data comes through
//! server functions and, for streams and bytes, the JSON API. Knows no SQL, no tensors and no axum routes.

// Deep view types; the default limit is reached while they are resolved.
#![recursion_limit = "256"]
#![expect(unreachable_pub, reason = "leptos' component macro declares every component's properties `pub`")]

#[cfg(feature = "ssr")]
pub mod admin;
mod api;
mod browser;
mod components;
#[cfg(feature = "ssr")]
mod document;
mod form;
mod order;
mod pages;
mod request;
mod state;
mod thin;
mod words;

#[cfg(feature = "ssr")]
pub use self::{
    api::{FormPost, StatusOf, UploadError, submit_form_post},
    document::{Document, shell},
    form::{INIT_IMAGE_FILE, MASK_FILE, percent_encoded},
};

/// Makes the studio page that the server rendered interactive. Other pages load no script.
#[cfg(feature = "hydrate")]
pub fn hydrate() {
    leptos::mount::hydrate_body(pages::StudioPage);
}
