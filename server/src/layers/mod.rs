//! What surrounds every request, one file per concern. `routes.rs` says in which order.

pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod credentials;
pub(crate) mod deadline;
pub(crate) mod headers;
pub(crate) mod host;
pub(crate) mod log;
pub(crate) mod origin;
pub(crate) mod streams;
pub(crate) mod visitor;
