//! The arithmetic that the models share. Every function here has one differentiable form, composed of candle's
//! own operations; candle's fused softmax and layer norm are not used in it, because they silently cut the graph.
//! A faster form without gradients may stand beside it: it is taken for f32 on the CPU when nothing is tracked.

mod activation;
mod attention;
mod conv;
mod linear;
mod norm;

pub(crate) use activation::{Activation, geglu};
pub(crate) use attention::{Mask, attention};
pub(crate) use conv::{conv2d, upsample_nearest};
pub(crate) use linear::linear;
pub(crate) use norm::{group_norm, layer_norm};
