//! The JSON API, one file per subject. `routes.rs` says which address leads where.

pub(crate) mod adapters;
pub(crate) mod deletion;
pub(crate) mod embeddings;
pub(crate) mod events;
pub(crate) mod generations;
pub(crate) mod history;
pub(crate) mod images;
pub(crate) mod model;
pub(crate) mod openapi;
pub(crate) mod recipe;
pub(crate) mod shares;
pub(crate) mod tokens;
pub(crate) mod uploads;
pub(crate) mod wildcards;
