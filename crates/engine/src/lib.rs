//! Stable Diffusion 1.x on candle: loading a Hugging Face folder, tokenizer, text encoder, UNet, VAE, samplers,
//! adapters. Knows no jobs, users, HTTP or SQL.

mod checkpoint;
mod error;
mod json;
mod layers;
mod noise;
mod ops;
mod resnet;
pub mod sampler;
mod text;
mod unet;
mod vae;
mod weight;

pub use error::{EngineError, Result};
pub use noise::NoiseSource;
pub use text::{TextEncoder, Tokenizer, Tokens};
pub use unet::UNet;
pub use vae::{Posterior, Vae};
pub use weight::{Weight, WeightVisitor};
