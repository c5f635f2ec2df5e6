//! NVIDIA GPUs: memory, one stream, graphs and the kernels of a Stable Diffusion plan, behind safe functions.
//!
//! A [`Runtime`] is a GPU ([`open`]) or a [`Fake`] one for tests, which computes on the CPU and looks at what a GPU would not
//! notice. A [`Kernel`] is one launch with its operands: blocks of [`Memory`], [`View`]s of images in them and [`Span`]s of
//! vectors and matrices. Every launch is checked before it is made; a view or span cannot reach outside of its block.
//!
//! Activations and weights are f16 or f32 ([`Element`]), sums and vectors f32. Without the feature `cuda` there is no GPU,
//! and nothing of CUDA is linked; with it, CUDA's runtime is linked statically, and a program starts without any driver.

#[cfg(feature = "cuda")]
mod cuda;
mod error;
mod fake;
mod kernel;
mod memory;
mod open;
mod runtime;

pub use error::{Error, Result};
pub use fake::Fake;
pub use kernel::{Change, Delta, Kernel, MAX_CHANGES, Matrix};
pub use memory::{ALIGN, Element, Memory, Span, View};
pub use open::open;
pub use runtime::{DeviceInfo, Graph, MemoryInfo, Runtime};
