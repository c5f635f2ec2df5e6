//! Trained changes of a plan's matrices: s·B·A beside the weights of a layer.

use std::{collections::HashMap, ops::Range};

use adire_kernels::{
    Activation, AnyImage, Buffer, Dtype, Epilogue, Image, ImageMut, Layout, PackedLinear, activation, linear,
};

use super::memory::Pool;
use crate::ops::outer;

/// The factors of one trained layer, as products take them.
#[derive(Debug)]
pub(super) struct Factors {
    /// Place among the trained layers.
    layer: usize,
    rank: usize,
    scale: f32,
    down: PackedLinear,
    /// s·B.
    up: PackedLinear,
    /// Aᵀ.
    down_turned: PackedLinear,
    /// s·Bᵀ.
    up_turned: PackedLinear,
}

/// The gradients of a layer's factors: A's [rank, in] and B's [out, rank].
#[derive(Clone, Debug)]
pub(crate) struct FactorGradients {
    pub(crate) down: Vec<f32>,
    pub(crate) up: Vec<f32>,
}

/// Of a matrix with trained parts: the parts' outputs and factors.
pub(super) type Parts = Vec<(Range<usize>, Factors)>;

/// By matrix.
pub(super) type Changes = HashMap<usize, Parts>;

impl Factors {
    /// `down` A [rank, in] and `up` B [out, rank].
    pub(super) fn new(layer: usize, down: &[f32], up: &[f32], rank: usize, scale: f32) -> Self {
        let inputs = down.len() / rank;
        let scaled: Vec<f32> = up.iter().map(|x| x * scale).collect();
        let turned = |x: &[f32], columns: usize| {
            let x = Image::new(x, Layout::tokens(1, x.len() / columns, columns));
            PackedLinear::from_columns(Dtype::F32, x, None)
        };
        Self {
            layer,
            rank,
            scale,
            down: PackedLinear::pack(down, inputs),
            up: PackedLinear::pack(&scaled, rank),
            down_turned: turned(down, inputs),
            up_turned: turned(&scaled, rank),
        }
    }
}

/// What the parts of a layer add to its result, and x·Aᵀ of each.
pub(super) struct Added {
    pub(super) values: Buffer,
    pub(super) hidden: Vec<Buffer>,
}

/// Of `x` and its layer's result of `outputs` channels.
pub(super) fn forward(
    x: AnyImage<'_>,
    outputs: usize,
    parts: &Parts,
    residual: Option<Image<'_>>,
    pool: &mut Pool,
) -> Added {
    let pixels = x.layout().pixels();
    let to = Layout::tokens(1, pixels, outputs);
    let mut values = pool.floats(to.len());
    match residual {
        Some(residual) => activation(residual, Activation::Identity, ImageMut::new(&mut values, to)),
        None => values.fill(0.0),
    }
    let held = plain(x, pool);
    let x = Image::new(&held, Layout::tokens(1, pixels, x.layout().channels));
    let mut hidden = Vec::with_capacity(parts.len());
    for (range, factors) in parts {
        let inner = Layout::tokens(1, pixels, factors.rank);
        let mut h = Buffer::new(inner.len());
        linear(x, &factors.down, &Epilogue::default(), ImageMut::new(&mut h, inner));
        let add = Epilogue { accumulate: true, ..Epilogue::default() };
        let part = ImageMut::new(&mut values, to).channels(range.clone());
        linear(Image::new(&h, inner), &factors.up, &add, part);
        hidden.push(h);
    }
    pool.give(held);
    Added { values, hidden }
}

/// The factors' gradients by layer, from that of the layer's result; `held` is what the layer read ([`plain`]), and what the factors give
/// to its gradient is added to `to`.
pub(super) fn backward(
    gradient: Image<'_>,
    parts: &Parts,
    hidden: &[Buffer],
    held: &[f32],
    mut to: Option<ImageMut<'_>>,
    found: &mut [Option<FactorGradients>],
) {
    let pixels = gradient.layout().pixels();
    let x = Image::new(held, Layout::tokens(1, pixels, held.len() / pixels));
    for ((range, factors), hidden) in parts.iter().zip(hidden) {
        let g = gradient.channels(range.clone());
        let inner = Layout::tokens(1, pixels, factors.rank);
        // ∂B = s·gᵀ·h, computed as [rank, out]; ∂h = s·g·B; ∂A = ∂hᵀ·x.
        let turned = outer(Image::new(hidden, inner), g);
        let (rank, outputs) = (factors.rank, range.len());
        let up = (0..outputs * rank).map(|i| factors.scale * turned[i % rank * outputs + i / rank]).collect();
        let mut h = Buffer::new(inner.len());
        linear(g, &factors.up_turned, &Epilogue::default(), ImageMut::new(&mut h, inner));
        let h = Image::new(&h, inner);
        let down = outer(h, x);
        if let Some(to) = &mut to {
            let layout = to.layout();
            let add = Epilogue { accumulate: true, ..Epilogue::default() };
            linear(h, &factors.down_turned, &add, ImageMut::new(to.data_mut(), layout));
        }
        found[factors.layer] = Some(match found[factors.layer].take() {
            Some(mut sum) => {
                sum.down.iter_mut().zip(&down).for_each(|(sum, part)| *sum += part);
                sum.up.iter_mut().zip::<Vec<f32>>(up).for_each(|(sum, part)| *sum += part);
                sum
            }
            None => FactorGradients { down, up },
        });
    }
}

/// The pixels without gaps, in f32.
pub(super) fn plain(x: AnyImage<'_>, pool: &mut Pool) -> Buffer {
    let layout = Layout::tokens(1, x.layout().pixels(), x.layout().channels);
    let mut to = pool.floats(layout.len());
    activation(x, Activation::Identity, ImageMut::new(&mut to, layout));
    to
}
