//! Residual blocks, transformers and changes of size, as UNet and VAE have them.

use adire_kernels::Sampling;

use super::{
    build::Builder,
    op::{Offset, Op, Stage, View},
};
use crate::ops::Activation;

/// Fixed in diffusers' Transformer2DModel.
const GROUP_NORM_EPS: f64 = 1e-6;
/// Fixed in diffusers' BasicTransformerBlock.
const LAYER_NORM_EPS: f64 = 1e-5;

/// How the normalisations of residual blocks are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Norms {
    pub(super) groups: usize,
    pub(super) eps: f64,
    pub(super) activation: Activation,
}

/// The time rows of all residual blocks: one product for all of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeRows {
    /// One column for each channel of each block's first convolution.
    pub(super) rows: View,
    pub(super) matrix: usize,
    pub(super) bias: usize,
}

/// Two convolutions around a shortcut, from `x` to `y` of the same size.
pub(super) fn resnet(b: &mut Builder, path: &str, norms: &Norms, time: Option<&TimeRows>, x: View, y: View) {
    let Norms { groups, eps, activation } = *norms;
    let size = b.size(x);
    let first = b.operand(size, x.channels, 1);
    b.group_norm(&format!("{path}.norm1"), x, groups, eps, Some(activation), first);
    let conv1 = format!("{path}.conv1");
    let offset = match time {
        None => Offset::Vector(b.bias(&conv1)),
        Some(time) => {
            let proj = format!("{path}.time_emb_proj");
            b.extend_matrix(time.matrix, &proj, y.channels);
            b.extend_vector(time.bias, &[&proj, &conv1]);
            Offset::Row(b.widen(time.rows, y.channels))
        }
    };
    let hidden = b.buffer(size, y.channels, 0);
    let matrix = b.conv(&conv1, x.channels, y.channels);
    b.push(Op::Conv { x: first, matrix, offset, sampling: Sampling::Same, residual: None, y: hidden });
    let second = b.operand(size, y.channels, 1);
    b.group_norm(&format!("{path}.norm2"), hidden, groups, eps, Some(activation), second);
    let residual = if x.channels == y.channels {
        x
    } else {
        b.layer(&format!("{path}.conv_shortcut"), x, None, y);
        y
    };
    conv(b, &format!("{path}.conv2"), second, Some(residual), y);
}

/// A 3×3 convolution that keeps the size; `x` has a border.
pub(super) fn conv(b: &mut Builder, path: &str, x: View, residual: Option<View>, y: View) {
    let (matrix, bias) = (b.conv(path, x.channels, y.channels), b.bias(path));
    b.push(Op::Conv { x, matrix, offset: Offset::Vector(bias), sampling: Sampling::Same, residual, y });
}

/// Halves the size. With `padding` 0 the image is padded at the right and bottom only.
pub(super) fn downsample(b: &mut Builder, path: &str, padding: usize, x: View, y: View) {
    let size = b.size(x);
    let bordered = b.operand(size, x.channels, 1);
    b.push(Op::Resize { x, y: bordered });
    let path = format!("{path}.conv");
    let (matrix, offset) = (b.conv(&path, x.channels, y.channels), Offset::Vector(b.bias(&path)));
    b.push(Op::Conv { x: bordered, matrix, offset, sampling: halving(padding), residual: None, y });
}

fn halving(padding: usize) -> Sampling {
    if padding == 0 { Sampling::HalfBottomRight } else { Sampling::Half }
}

/// The size after [`downsample`].
pub(super) fn halved(size: (usize, usize), padding: usize) -> (usize, usize) {
    halving(padding).size(size.0, size.1)
}

/// Enlarges to the size of `y` and convolves.
pub(super) fn upsample(b: &mut Builder, path: &str, x: View, y: View) {
    let (from, to) = (b.size(x), b.size(y));
    let path = format!("{path}.conv");
    if Sampling::Double.size(from.0, from.1) == to {
        let bordered = b.operand(from, x.channels, 1);
        b.push(Op::Resize { x, y: bordered });
        let (matrix, offset) = (b.conv(&path, x.channels, y.channels), Offset::Vector(b.bias(&path)));
        b.push(Op::Conv { x: bordered, matrix, offset, sampling: Sampling::Double, residual: None, y });
        return;
    }
    // An odd size on the way down is odd again on the way up.
    let large = b.operand(to, x.channels, 1);
    b.push(Op::Resize { x, y: large });
    conv(b, &path, large, None, y);
}

/// Sizes of a transformer.
#[derive(Clone, Copy, Debug)]
pub(super) struct TransformerSizes {
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) groups: usize,
    pub(super) only_cross_attention: bool,
}

/// Attention over the positions and to `context`, from `x` to `y`.
pub(super) fn transformer(
    b: &mut Builder,
    path: &str,
    sizes: &TransformerSizes,
    context: View,
    x: View,
    y: View,
) {
    let (size, width) = (b.size(x), x.channels);
    let normed = b.operand(size, width, 0);
    b.group_norm(&format!("{path}.norm"), x, sizes.groups, GROUP_NORM_EPS, None, normed);
    let state = b.buffer(size, width, 0);
    b.layer(&format!("{path}.proj_in"), normed, None, state);
    for i in 0..sizes.layers {
        let path = format!("{path}.transformer_blocks.{i}");
        let from = sizes.only_cross_attention.then_some(context);
        attention(b, &format!("{path}.norm1"), &format!("{path}.attn1"), sizes.heads, from, state);
        attention(b, &format!("{path}.norm2"), &format!("{path}.attn2"), sizes.heads, Some(context), state);
        feed_forward(b, &path, state);
    }
    b.layer(&format!("{path}.proj_out"), state, Some(x), y);
}

/// Adds attention to `state`: to itself, or to the prompt's `context`, whose keys and values are made once.
fn attention(b: &mut Builder, norm: &str, path: &str, heads: usize, context: Option<View>, state: View) {
    let (size, width) = (b.size(state), state.channels);
    let normed = b.operand(size, width, 0);
    let place = b.norm(norm);
    b.push(Op::LayerNorm { x: state, norm: place, eps: LAYER_NORM_EPS, y: normed });
    let name = |what: &str| format!("{path}.{what}");
    let attended = b.operand(size, width, 0);
    let (q, k, v) = match context {
        None => {
            let all = b.operand(size, 3 * width, 0);
            let matrix = b.linear(&[name("to_q"), name("to_k"), name("to_v")], width, 3 * width);
            b.push(Op::Linear { x: normed, matrix, bias: None, activation: None, residual: None, y: all });
            (all.part(0, width), all.part(width, width), all.part(2 * width, width))
        }
        Some(context) => {
            let q = b.operand(size, width, 0);
            let matrix = b.linear(&[name("to_q")], width, width);
            b.push(Op::Linear { x: normed, matrix, bias: None, activation: None, residual: None, y: q });
            let images = b.images();
            let both = b.kept_operand(images, b.size(context), 2 * width);
            let matrix = b.linear(&[name("to_k"), name("to_v")], context.channels, 2 * width);
            let op = Op::Linear { x: context, matrix, bias: None, activation: None, residual: None, y: both };
            b.push_to(Stage::Prompt, op, images);
            b.split();
            (q, both.part(0, width), both.part(width, width))
        }
    };
    b.push(Op::Attention { q, k, v, heads, causal: false, y: attended });
    b.layer(&name("to_out.0"), attended, Some(state), state);
}

/// Adds the gated feed-forward layers to `state`.
fn feed_forward(b: &mut Builder, path: &str, state: View) {
    let (size, width) = (b.size(state), state.channels);
    let normed = b.operand(size, width, 0);
    let norm = b.norm(&format!("{path}.norm3"));
    b.push(Op::LayerNorm { x: state, norm, eps: LAYER_NORM_EPS, y: normed });
    let gated = b.operand(size, 4 * width, 0);
    let first = format!("{path}.ff.net.0.proj");
    let (matrix, bias) = (b.gated(&first, width, 8 * width), Some(b.bias(&first)));
    b.push(Op::Linear { x: normed, matrix, bias, activation: None, residual: None, y: gated });
    b.layer(&format!("{path}.ff.net.2"), gated, Some(state), state);
}
