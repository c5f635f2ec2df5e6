//! What a step of Stable Diffusion spends its time in, on a CPU: products with packed weights, 3×3 convolutions, attention,
//! norms, and the merge of adapters into the weights.
//!
//! Every kernel is a safe function that checks its operands and panics where a caller has made a mistake. Own kernels and not
//! oneDNN: that was measured no faster, has no Winograd for these shapes, and takes half an hour to compile.
//!
//! # Memory
//!
//! Activations are NHWC. An [`Image`] is a slice with a [`Layout`]: pixels (or tokens) at a stride, so that a view may be a part of
//! wider rows, such as a half of a concatenation or one of Q, K and V. What a 3×3 convolution reads has a border of one pixel
//! of zeros: a tap of the kernel is then a constant offset, and nothing is copied for it. Whatever writes an image with a border
//! writes that, too. Numbers in gaps are neither read nor written.
//!
//! Weights are packed once, into panels of as many outputs as a tile has columns ([`PackedLinear`], [`PackedConv3x3`]), from and
//! to the plain order. A [`Change`] is merged into a copy, always from the pristine weights, so that the same changes give the
//! same bits.
//!
//! Nothing needs to be aligned, but a [`Buffer`] is (64 bytes; 2 MB on huge pages if it is large), and strides that are multiples of
//! 16 keep vectors within lines of the cache.
//!
//! # Numbers
//!
//! f32, or bf16 with sums in f32: products of bf16 take activations and weights of bf16 and write either; residuals, biases
//! and the inputs of norms are f32. Errors relative to the size of what is summed, against f64:
//!
//! | | f32 | bf16 |
//! | --- | --- | --- |
//! | products, direct convolutions | 1e-6 | the rounding of what is written |
//! | Winograd F(2×2), F(4×4) | 1e-6, 1.5e-6 | twice and six times that of a direct one |
//! | attention | 2e-6 | 4e-3 |
//! | SiLU, GELU | 1e-6 of 1 + \|x\| | and rounding |
//!
//! A NaN stays one through everything but a merge into weights of bf16.
//!
//! # Instructions and threads
//!
//! [`Isa`] is chosen at run time: AMX, AVX-512 with products of bf16, AVX-512, AVX2, or what the program was compiled for (which any
//! other processor takes); `ADIRE_CPU` takes less than there is. Without instructions for bf16 its products are emulated, at
//! half the speed of f32.
//!
//! Kernels run on rayon's current pool. Each output is summed by one thread in one order, which depends on shapes and
//! instructions and on nothing else: results do not depend on the number of threads.
#![expect(
    unsafe_code,
    reason = "vector instructions and strided writes from several threads; each behind a safe function"
)]
#![expect(clippy::too_many_arguments, reason = "a kernel's operands")]
#![expect(clippy::needless_range_loop, reason = "loops with constant bounds over registers")]

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod amx_tests;
mod attention;
mod buffer;
mod conv;
mod elementwise;
mod epilogue;
mod finish;
mod image;
mod isa;
mod layer_norm;
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
mod turned;
mod winograd;

/// Numbers of 16 bits with the range of f32.
pub use half::bf16;

pub use attention::{Attention, attention};
pub use buffer::{Arena, Buffer, Number};
pub use conv::{Algorithm, PackedConv3x3, Sampling, conv3x3};
pub use elementwise::{activation, add, clear_border, from_planes, geglu, to_planes};
pub use epilogue::{Activation, Epilogue};
pub use image::{AnyImage, AnyImageMut, Dtype, Image, ImageMut, Layout, halves, halves_mut};
pub use isa::Isa;
pub use layer_norm::layer_norm;
pub use linear::{PackedLinear, linear, linear_ungated};
pub use merge::{Change, Delta};
pub use norm::{Affine, group_norm};
