//! Inference as a plan: a list of operations over buffers of one arena, made once for a model, a batch and a size.
//!
//! On the CPU, what products, convolutions and attention read is f32 or bf16; sums, residuals and what norms read are f32. On a
//! GPU all of it is f16, or f32.
//!
//! Every decision about layout is in the list. Activations are NHWC; what a 3×3 convolution reads has a border of zeros;
//! queries, keys and values come out of one product; a skip is written into its half of the concatenation; bias, the time
//! row and the residual are added where a product writes its result. What does not change within an image (keys and values of
//! the prompt) or within a step of a schedule (time rows) has stages of its own, and what both halves of guidance have in
//! common is computed once.
//!
//! `op` says what a plan consists of, `build` collects it, `place` puts the buffers into the arena; `unet`, `vae`
//! and `text` write the models' lists, of `blocks`; `run` walks along a list by an `arithmetic`: `packed` is that of
//! `adire-kernels`, `reference` a plain one, the oracle of the tests; `parameters` holds the weights, `held` those of
//! earlier adapters; `model`, `codec` and `words` are the UNet, the autoencoder and the text encoder that compute by plans, where
//! `switch` allows it; `device` has the same three on a GPU; `gradient` is a UNet in training, forwards and back. Knows no schedule, no
//! guidance and no files.

mod arithmetic;
mod blocks;
mod build;
mod codec;
mod device;
mod gradient;
mod held;
mod model;
mod op;
mod packed;
mod parameters;
mod place;
#[cfg(test)]
mod reference;
mod run;
mod switch;
#[cfg(test)]
mod tests;
mod text;
mod unet;
mod vae;
mod words;

pub(crate) use codec::PlannedVae;
pub(crate) use device::{DeviceText, DeviceUNet, DeviceVae, Target};
pub(crate) use gradient::{TrainedLayer, TrainingUNet};
pub(crate) use model::PlannedUNet;
pub(crate) use switch::{is_on, operands, prefers_bf16, tensors};
pub(crate) use vae::{Autoencoder, Half};
pub(crate) use words::PlannedText;
