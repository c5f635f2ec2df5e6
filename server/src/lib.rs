//! The program `adire`: its commands, and the HTTP server that serves the studio and the pages.
//! Rules about requests live in `protocol`, jobs in `studio`, tensors in `engine`; this crate only connects them.

// The pages' view types are deep; the default limit is reached while their layout is computed.
#![recursion_limit = "512"]

mod access;
mod addresses;
mod admin;
mod api;
mod blob;
mod card;
mod cli;
mod commands;
mod compat;
mod connections;
mod cookies;
mod dialect;
mod embed;
mod error;
mod exports;
mod extract;
mod flash;
mod form_post;
mod history_pages;
mod host_name;
mod hub;
mod hub_api;
mod layers;
mod metrics;
mod mlflow;
mod notify;
mod nulls;
mod outward;
mod pages;
mod part;
mod printable;
mod processor;
mod publish;
mod qr;
mod render;
mod routes;
mod scratch;
mod serve;
mod share_pages;
mod sheet_png;
mod shutdown;
mod site;
mod starting;
mod startup;
mod state;
mod submission;
mod tally;
#[cfg(test)]
mod testing;
mod trust;
mod vote_pages;

pub use access::{Access, AccessSettings};
pub use addresses::{Address, BodyLimit, Who};
pub use admin::auth::AdminAuth;
pub use cli::{Cli, run};
pub use commands::listed_tokens;
pub use connections::ConnectionLimits;
pub use error::{Problem, ProblemKind};
pub use printable::{printable, report};
pub use processor::missing;
pub use routes::{addresses, api, router};
pub use serve::{Timeouts, serve};
pub use shutdown::Shutdown;
pub use site::Site;
pub use starting::Starting;
pub use startup::Startup;
pub use state::{AppState, Front};
