//! Errors of the engine, as sentences to show.

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
    #[error("{}", failed(.0))]
    Candle(#[from] candle_core::Error),
    /// A GPU did not do what it was given, or lacks memory for it.
    #[error("{0}")]
    Gpu(#[from] adire_cuda::Error),
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
        // Names in files come from anywhere and are shown on terminals.
        Self::Adapter { path: path.to_owned(), message: adire_protocol::visible(&message.into()) }
    }

    /// Whether the memory of a GPU did not suffice.
    pub fn is_out_of_memory(&self) -> bool {
        match self {
            Self::Gpu(error) => matches!(error, adire_cuda::Error::OutOfMemory { .. }),
            Self::Candle(error) => names_memory(&error.to_string()),
            _ => false,
        }
    }
}

/// Whether a text of candle's contains the driver's or cuBLAS' name for a lack of memory.
fn names_memory(text: &str) -> bool {
    ["CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED"].iter().any(|code| text.contains(code))
}

/// Message for a failed computation, with advice when memory ran out.
fn failed(error: &candle_core::Error) -> String {
    let text = error.to_string();
    if names_memory(&text) {
        return "not enough GPU memory; choose a smaller size or fewer images at once (for training: a smaller resolution \
                or batch, or gradient checkpointing), or close other programs that use this GPU"
            .to_owned();
    }
    format!("the computation failed: {text}")
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, EngineError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_gpu_is_said_with_what_to_do() {
        let driver = r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#;
        let full = EngineError::from(candle_core::Error::Msg(driver.to_owned()));
        assert!(full.is_out_of_memory());
        let full = full.to_string();
        assert!(full.starts_with("not enough GPU memory") && !full.contains("DriverError"), "{full}");
        let other = EngineError::from(candle_core::Error::Msg("shape mismatch".to_owned())).to_string();
        assert_eq!(other, "the computation failed: shape mismatch");
    }
}
