//! From a prompt to the vectors that the UNet attends to.

mod chunks;
mod config;
mod context;
mod encoder;
pub mod prompt;
mod tokenizer;

pub use chunks::Chunk;
pub(crate) use config::TextConfig;
pub use context::context;
pub use encoder::TextEncoder;
pub use tokenizer::{Tokenizer, Tokens};
