//! From a prompt to the vectors that the UNet attends to.

mod config;
mod encoder;
mod tokenizer;

pub(crate) use config::TextConfig;
pub use encoder::TextEncoder;
pub use tokenizer::{Tokenizer, Tokens};
