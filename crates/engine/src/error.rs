//! What can go wrong in the engine, in sentences for people.

use std::path::{Path, PathBuf};

/// Every failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A file of the model folder cannot be used.
    #[error("{}: {message}", path.display())]
    Model {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, what was expected, what to do.
        message: String,
    },
    /// An adapter file cannot be used.
    #[error("{}: {message}", path.display())]
    Adapter {
        /// The file.
        path: PathBuf,
        /// What is wrong, what was expected, what to do.
        message: String,
    },
    /// A request asks for something that this model cannot do.
    #[error("{0}")]
    Request(String),
    /// A tensor operation failed: a fault of ours, or too little memory.
    #[error("the computation failed: {0}")]
    Candle(#[from] candle_core::Error),
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl EngineError {
    /// A file of the model folder cannot be used.
    pub fn model(path: &Path, message: impl Into<String>) -> Self {
        Self::Model { path: path.to_owned(), message: message.into() }
    }

    /// An adapter file cannot be used.
    pub fn adapter(path: &Path, message: impl Into<String>) -> Self {
        Self::Adapter { path: path.to_owned(), message: message.into() }
    }
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, EngineError>;
