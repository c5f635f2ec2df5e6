//! From a prompt to the vectors that the UNet attends to.

mod chunks;
mod config;
mod context;
mod embedding;
mod encoder;
pub mod prompt;
mod tokenizer;
mod words;

pub use chunks::{Chunk, Vector};
pub(crate) use config::TextConfig;
pub use context::context;
pub(crate) use context::context_with;
pub use embedding::Embedding;
pub use encoder::TextEncoder;
pub use tokenizer::{Tokenizer, Tokens};
pub use words::{Embeddings, Words};
