//! What a step of Stable Diffusion spends its time in, on a CPU: products with packed weights, 3×3 convolutions, attention,
//! norms.
//!
//! Activations are NHWC ([`Image`]); what a 3×3 convolution reads has a border of zeros, so that a tap of the kernel is a
//! constant offset and nothing is copied. Weights are packed once into panels ([`PackedLinear`], [`PackedConv3x3`]).
//! Kernels run on rayon's current pool, and each output is summed by one thread in one order: results do not depend on the
//! number of threads. Own kernels and not oneDNN: measured no faster there, no Winograd, half an hour of a cold build.
#![expect(
    unsafe_code,
    reason = "vector instructions and strided writes from several threads; each behind a safe function"
)]
#![expect(clippy::too_many_arguments, reason = "a kernel's operands")]
#![expect(clippy::needless_range_loop, reason = "loops with constant bounds over registers")]

mod attention;
mod buffer;
mod conv;
mod elementwise;
mod epilogue;
mod finish;
mod image;
mod isa;
mod linear;
mod lines;
mod math;
mod merge;
mod norm;
mod panels;
mod parallel;
mod product;
mod simd;
mod tile;
mod winograd;

pub use attention::{Attention, attention};
pub use buffer::{Arena, Buffer, Number};
pub use conv::{Algorithm, PackedConv3x3, Sampling, conv3x3};
pub use elementwise::{activation, add, clear_border, from_planes, geglu, to_planes};
pub use epilogue::{Activation, Epilogue};
pub use image::{AnyImage, AnyImageMut, Dtype, Image, ImageMut, Layout};
pub use isa::Isa;
pub use linear::{PackedLinear, linear};
pub use merge::{Change, Delta};
pub use norm::{Affine, group_norm, layer_norm};
