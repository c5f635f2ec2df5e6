//! Stable Diffusion 1.x on candle: loading a Hugging Face folder, tokenizer, text encoder, UNet, VAE, samplers,
//! adapters. Knows no jobs, users, HTTP or SQL.

mod error;
mod text;
mod unet;
mod weight;

pub use error::{EngineError, Result};
pub use text::TextEncoder;
pub use unet::UNet;
pub use weight::{Weight, WeightVisitor};
