//! Models on the Hugging Face Hub, and those of them that lie in this machine's cache. The cache's layout is the
//! Hub's own (`models--ORG--NAME/{blobs,refs,snapshots}`), shared with Python's libraries: what one has fetched,
//! the other finds.

mod cache;
mod check;
mod client;
mod pull;
mod push;
mod select;

pub(crate) use cache::{Kind, cached, find, find_kind, folder, tokenizer};
pub(crate) use check::{Expected, check};
pub(crate) use pull::{Report, Transfer, Wanted, from_environment, is_repository, pull, pull_images};
pub(crate) use push::{Content, Hub, Push, PushError, PushFile, Pushed, SILENCE};
pub(crate) use select::{Part, Variant};
