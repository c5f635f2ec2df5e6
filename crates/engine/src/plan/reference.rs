//! A plan's arithmetic in plain loops: what the fast one is compared with.

use std::ops::Range;

use adire_kernels::{
    self as kernels, Activation, Affine, AnyImage, AnyImageMut, Epilogue, Image, ImageMut, Sampling,
};

use super::{
    arithmetic::{Arithmetic, activation as kernel_activation},
    op::MatrixSpec,
};
use crate::ops;

/// One number after the other, sums in f64.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference;

/// [outputs, inputs] or [outputs, 3, 3, inputs].
#[derive(Debug)]
pub(super) struct Matrix {
    values: Vec<f32>,
    gated: bool,
}

/// Where the `i`th number of a weight lies in a matrix.
fn place(spec: &MatrixSpec, i: usize) -> usize {
    let taps = spec.kernel * spec.kernel;
    let (row, input, tap) = (i / (taps * spec.inputs), i / taps % spec.inputs, i % taps);
    (row * taps + tap) * spec.inputs + input
}

fn activated(activation: kernels::Activation, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match activation {
        Activation::Identity => x,
        Activation::Silu => x * sigmoid(x),
        Activation::Gelu => 0.5 * x * (1.0 + candle_core::cpu::erf::erf_f64(x / std::f64::consts::SQRT_2)),
        Activation::QuickGelu => x * sigmoid(1.702 * x),
    }
}

/// What an epilogue adds to one number of pixel `pixel`.
fn added(epilogue: &Epilogue<'_>, pixel: usize, channel: usize, y: &mut ImageMut<'_>) -> f64 {
    let residual = epilogue.residual.map_or(0.0, |residual| f64::from(residual.pixel(pixel)[channel]));
    let before = if epilogue.accumulate { f64::from(y.pixel(pixel)[channel]) } else { 0.0 };
    residual + before
}

fn bias(epilogue: &Epilogue<'_>, output: usize) -> f64 {
    epilogue.bias.map_or(0.0, |bias| f64::from(bias[output]))
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// (mean, 1/√(variance + ε))
fn moments(values: impl Iterator<Item = f32> + Clone, eps: f32) -> (f64, f64) {
    let count = values.clone().count() as f64;
    let mean = values.clone().map(f64::from).sum::<f64>() / count;
    let variance = values.map(|x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    (mean, 1.0 / (variance + f64::from(eps)).sqrt())
}

/// What is read and written; the reference is of f32 alone.
fn plain(x: AnyImage<'_>) -> Image<'_> {
    match x {
        AnyImage::F32(x) => x,
        AnyImage::Bf16(_) => panic!("the reference computes in f32"),
    }
}

/// As [`plain`], to write.
fn plain_mut(y: AnyImageMut<'_>) -> ImageMut<'_> {
    match y {
        AnyImageMut::F32(y) => y,
        AnyImageMut::Bf16(_) => panic!("the reference computes in f32"),
    }
}

impl Arithmetic for Reference {
    type Matrix = Matrix;

    fn pack(&self, spec: &MatrixSpec, parts: &[&[f32]]) -> Matrix {
        let whole = parts.concat();
        let mut values = vec![0.0; whole.len()];
        for (i, value) in whole.into_iter().enumerate() {
            values[place(spec, i)] = value;
        }
        Matrix { values, gated: spec.gated }
    }

    fn unpack(&self, spec: &MatrixSpec, matrix: &Matrix, outputs: Range<usize>) -> Vec<f32> {
        let row = matrix.values.len() / spec.outputs.max(1);
        (outputs.start * row..outputs.end * row).map(|i| matrix.values[place(spec, i)]).collect()
    }

    fn group_norm(
        &self,
        x: Image<'_>,
        groups: usize,
        affine: Affine<'_>,
        activation: Option<ops::Activation>,
        y: AnyImageMut<'_>,
    ) {
        let mut y = plain_mut(y);
        adire_kernels::clear_border(&mut y);
        let layout = x.layout();
        let (width, pixels) = (layout.channels / groups, layout.height * layout.width);
        for (image, group) in (0..layout.batch).flat_map(|i| (0..groups).map(move |g| (i, g))) {
            let pixels = image * pixels..(image + 1) * pixels;
            let channels = group * width..(group + 1) * width;
            let values = pixels.clone().flat_map(|pixel| x.pixel(pixel)[channels.clone()].iter().copied());
            let (mean, scale) = moments(values, affine.epsilon);
            for (pixel, c) in pixels.flat_map(|pixel| channels.clone().map(move |c| (pixel, c))) {
                let value = (f64::from(x.pixel(pixel)[c]) - mean) * scale;
                let value = value * f64::from(affine.weight[c]) + f64::from(affine.bias[c]);
                let value = activated(kernel_activation(activation), value);
                y.pixel(pixel)[c] = value as f32;
            }
        }
    }

    fn layer_norm(&self, x: Image<'_>, affine: Affine<'_>, y: AnyImageMut<'_>) {
        let mut y = plain_mut(y);
        for pixel in 0..x.layout().pixels() {
            let (mean, scale) = moments(x.pixel(pixel).iter().copied(), affine.epsilon);
            for (channel, value) in x.pixel(pixel).iter().enumerate() {
                let value = (f64::from(*value) - mean) * scale * f64::from(affine.weight[channel]);
                y.pixel(pixel)[channel] = (value + f64::from(affine.bias[channel])) as f32;
            }
        }
    }

    fn linear(&self, x: AnyImage<'_>, matrix: &Matrix, epilogue: &Epilogue<'_>, y: AnyImageMut<'_>) {
        let (x, mut y) = (plain(x), plain_mut(y));
        let inputs = x.layout().channels;
        for pixel in 0..x.layout().pixels() {
            let products = matrix.values.chunks_exact(inputs).enumerate();
            let mut products: Vec<f64> =
                products.map(|(i, row)| dot(x.pixel(pixel), row) + bias(epilogue, i)).collect();
            if matrix.gated {
                let gates = products.split_off(products.len() / 2);
                for (value, gate) in products.iter_mut().zip(gates) {
                    *value *= activated(Activation::Gelu, gate);
                }
            }
            for (channel, value) in products.into_iter().enumerate() {
                let value = activated(epilogue.activation, value);
                y.pixel(pixel)[channel] = (value + added(epilogue, pixel, channel, &mut y)) as f32;
            }
        }
    }

    fn conv(
        &self,
        x: AnyImage<'_>,
        matrix: &Matrix,
        sampling: Sampling,
        epilogue: &Epilogue<'_>,
        y: AnyImageMut<'_>,
    ) {
        let mut y = plain_mut(y);
        let x = plain(x);
        let (from, to) = (x.layout(), y.layout());
        // What a tap sees along one side; positions count from the border's first pixel.
        let position = |at: usize, tap: usize, size: usize| match sampling {
            Sampling::Same => at + tap,
            Sampling::Half => 2 * at + tap,
            Sampling::HalfBottomRight => 2 * at + tap + 1,
            // In the enlarged image, whose border is that of the small one.
            Sampling::Double => match at + tap {
                0 => 0,
                seen => ((seen - 1) / 2).min(size) + 1,
            },
        };
        let line = from.row_stride();
        for pixel in 0..to.pixels() {
            let (image, at) = (pixel / (to.height * to.width), pixel % (to.height * to.width));
            let (at_y, at_x) = (at / to.width, at % to.width);
            for (output, weights) in matrix.values.chunks_exact(9 * from.channels).enumerate() {
                let taps = weights.chunks_exact(from.channels).enumerate().map(|(tap, weights)| {
                    let row = position(at_y, tap / 3, from.height);
                    let column = position(at_x, tap % 3, from.width);
                    let at = image * from.image_stride() + row * line + column * from.stride;
                    dot(&x.data()[at..at + from.channels], weights)
                });
                let value = taps.sum::<f64>() + bias(epilogue, output);
                y.pixel(pixel)[output] = (value + added(epilogue, pixel, output, &mut y)) as f32;
            }
        }
    }

    fn attention(&self, qkv: [AnyImage<'_>; 3], heads: usize, causal: bool, y: AnyImageMut<'_>) {
        let ([q, k, v], mut y) = (qkv.map(plain), plain_mut(y));
        let (queries, all) = (q.layout().height * q.layout().width, k.layout().height * k.layout().width);
        let depth = q.layout().channels / heads;
        let scale = 1.0 / (depth as f64).sqrt();
        for (pixel, head) in (0..q.layout().pixels()).flat_map(|p| (0..heads).map(move |h| (p, h))) {
            let (image, query) = (pixel / queries, pixel % queries);
            let keys = image * all..image * all + if causal { query + 1 } else { all };
            let part = head * depth..(head + 1) * depth;
            let at = &q.pixel(pixel)[part.clone()];
            let scores: Vec<f64> =
                keys.clone().map(|key| dot(at, &k.pixel(key)[part.clone()]) * scale).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for channel in part {
                let values = keys.clone().map(|key| f64::from(v.pixel(key)[channel]));
                let value: f64 = values.zip(&weights).map(|(value, weight)| value * weight).sum();
                y.pixel(pixel)[channel] = (value / sum) as f32;
            }
        }
    }
}
