//! Stable Diffusion 1.x on candle: loading a Hugging Face folder, tokenizer, text encoder, UNet, VAE, samplers,
//! adapters, safety checker. Knows no jobs, users, HTTP or SQL.

pub mod adapter;
mod checkpoint;
mod clip;
mod csd;
mod device;
mod dinov2;
mod embedding;
mod error;
mod gradient_checkpointing;
mod hash;
mod json;
mod layers;
mod manifest;
pub mod metric;
mod noise;
mod ops;
mod pipeline;
mod plan;
mod resnet;
mod rgb;
mod safety;
pub mod sampler;
mod save;
pub mod selftest;
mod text;
pub mod train;
mod unet;
mod vae;
mod weight;
mod whole;

pub use candle_core::Device;
pub use device::{DeviceChoice, Gpu, Placement, Precision, device_memory, free_memory};
pub use error::{EngineError, Result};
pub use hash::file_hash;
pub use manifest::{Manifest, ManifestAdapter};
pub use noise::{BrownianNoise, NoiseSource};
pub use pipeline::{ImageUpdate, InitImage, InpaintMask, LoadOptions, Output, Pipeline, StepReport};
pub use rgb::Rgb8;
pub use safety::{SafetyChecker, SafetyVerdict};
pub use text::{
    Chunk, Embedding, Embeddings, TextEncoder, Tokenizer, Tokens, Vector, Words, context, prompt,
};
pub use unet::UNet;
pub use vae::{Posterior, Vae};
pub use weight::{Parameter, ParameterVisitor, Weight, WeightVisitor};
pub use whole::write_whole;
