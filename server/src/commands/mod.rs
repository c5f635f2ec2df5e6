//! One file per command, and what several of them need.

pub(crate) mod adapters;
pub(crate) mod add;
pub(crate) mod admin;
pub(crate) mod bundled;
pub(crate) mod convert;
pub(crate) mod datasets;
pub(crate) mod embeddings;
pub(crate) mod evaluate;
pub(crate) mod generate;
pub(crate) mod health;
pub(crate) mod init_image;
pub(crate) mod inspect;
pub(crate) mod limits;
pub(crate) mod mlflow;
pub(crate) mod model_args;
pub(crate) mod models;
pub(crate) mod parameters;
pub(crate) mod push;
pub(crate) mod registry;
pub(crate) mod selftest;
pub(crate) mod serve;
pub(crate) mod tokens;
pub(crate) mod train;
pub(crate) mod verify;

pub use tokens::listed_tokens;

/// From now on, files of this process are for its user alone: for commands that write into a data folder.
pub(crate) fn keep_private() {
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}
