//! Gradients of forms whose numbers lie pixel by pixel, channels last, for f32 on the CPU.

use adire_kernels::{Affine, Image, ImageMut};
use rayon::prelude::*;

use super::{
    GRAIN,
    backward::{geglu_row, slope},
    math, multiply_add,
    softmax::{dot, sum},
};
use crate::ops::Activation;

/// Pixels whose sums are taken in f32 before they are joined in f64.
const BLOCK: usize = 256;

/// Two sums for each channel, block by block of pixels.
type Sums = Vec<(Vec<f32>, Vec<f32>)>;

/// The sums of all blocks, in f64.
fn join(blocks: &Sums, channels: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut first, mut second) = (vec![0.0; channels], vec![0.0; channels]);
    for (a, b) in blocks {
        first.iter_mut().zip(a).for_each(|(sum, part)| *sum += f64::from(*part));
        second.iter_mut().zip(b).for_each(|(sum, part)| *sum += f64::from(*part));
    }
    (first, second)
}

/// Mean and 1/σ of each group.
fn moments(x: Image<'_>, first: usize, pixels: usize, groups: usize, eps: f32) -> Vec<(f64, f64)> {
    let channels = x.layout().channels;
    // Relative to a value of the channel: nothing cancels where the mean is large.
    let origin = x.pixel(first);
    let blocks: Sums = (0..pixels.div_ceil(BLOCK))
        .into_par_iter()
        .map(|block| {
            let (mut sums, mut squares) = (vec![0f32; channels], vec![0f32; channels]);
            for pixel in block * BLOCK..((block + 1) * BLOCK).min(pixels) {
                let values = x.pixel(first + pixel).iter().zip(origin);
                for ((value, origin), (sum, square)) in values.zip(sums.iter_mut().zip(&mut squares)) {
                    let centred = value - origin;
                    *sum += centred;
                    *square = multiply_add(centred, centred, *square);
                }
            }
            (sums, squares)
        })
        .collect();
    let (sums, squares) = join(&blocks, channels);
    let (count, size) = (pixels as f64, channels / groups);
    let of_channel =
        |c: usize| (f64::from(origin[c]) + sums[c] / count, squares[c] - sums[c] * sums[c] / count);
    let of_group = |group: usize| {
        let all: Vec<_> = (group * size..(group + 1) * size).map(of_channel).collect();
        let mean = all.iter().map(|(mean, _)| mean).sum::<f64>() / size as f64;
        let around: f64 = all.iter().map(|(m, squares)| squares + count * (m - mean) * (m - mean)).sum();
        (mean, 1.0 / (around.max(0.0) / (count * size as f64) + f64::from(eps)).sqrt())
    };
    (0..groups).map(of_group).collect()
}

/// The gradient of the input of a group normalisation with its activation, written to `out` or added to it. `gradient` holds
/// the result's, pixel by pixel, and is used up.
///
/// With z = γ·x̂ + β and δ = g·f′(z)·γ: ∂x = (δ − mean(δ) − x̂·mean(δ·x̂)) / σ, means over the group.
pub(crate) fn group_norm_rows_backward(
    x: Image<'_>,
    gradient: &mut [f32],
    groups: usize,
    affine: &Affine<'_>,
    activation: Option<Activation>,
    out: &mut ImageMut<'_>,
    add: bool,
) {
    let layout = x.layout();
    let (channels, pixels) = (layout.channels, layout.height * layout.width);
    let (size, stride, count) = (channels / groups, out.layout().stride, pixels as f64);
    for (image, gradient) in gradient.chunks_exact_mut(pixels * channels).enumerate() {
        let first = image * pixels;
        let moments = moments(x, first, pixels, groups, affine.epsilon);
        let by_channel = |f: &dyn Fn(usize, f64, f64) -> f64| -> Vec<f32> {
            let of = |c: usize| f(c, moments[c / size].0, moments[c / size].1) as f32;
            (0..channels).map(of).collect()
        };
        let weight = |c: usize| f64::from(affine.weight[c]);
        let mean = by_channel(&|_, mean, _| mean);
        let factor = by_channel(&|c, _, scale| weight(c) * scale);
        let term = by_channel(&|c, mean, scale| f64::from(affine.bias[c]) - weight(c) * scale * mean);
        // First pass: δ in place, and its two sums for each channel.
        let blocks: Sums = gradient
            .par_chunks_mut(BLOCK * channels)
            .enumerate()
            .map(|(block, rows)| {
                let (mut plain, mut along) = (vec![0f32; channels], vec![0f32; channels]);
                for (i, delta) in rows.chunks_exact_mut(channels).enumerate() {
                    let x = &x.pixel(first + block * BLOCK + i)[..channels];
                    if let Some(activation) = activation {
                        for c in 0..channels {
                            delta[c] *= slope(activation, multiply_add(x[c], factor[c], term[c]));
                        }
                    }
                    for c in 0..channels {
                        delta[c] *= affine.weight[c];
                        plain[c] += delta[c];
                        along[c] = multiply_add(delta[c], x[c] - mean[c], along[c]);
                    }
                }
                (plain, along)
            })
            .collect();
        let (plain, along) = join(&blocks, channels);
        let mean_of = |sums: &[f64], group: usize| {
            sums[group * size..(group + 1) * size].iter().sum::<f64>() / (count * size as f64)
        };
        let shift = by_channel(&|c, _, scale| mean_of(&plain, c / size) * scale);
        let slope = by_channel(&|c, _, scale| mean_of(&along, c / size) * scale.powi(3));
        let scale = by_channel(&|_, _, scale| scale);
        let out = &mut out.data_mut()[first * stride..];
        let rows = out.par_chunks_mut(stride).zip(gradient.par_chunks(channels));
        rows.with_min_len(GRAIN / channels + 1).enumerate().for_each(|(i, (out, delta))| {
            let (x, out) = (&x.pixel(first + i)[..channels], &mut out[..channels]);
            for c in 0..channels {
                let value = delta[c] * scale[c] - shift[c] - (x[c] - mean[c]) * slope[c];
                out[c] = if add { out[c] + value } else { value };
            }
        });
    }
}

/// The gradient of the input of a layer normalisation, written to `out` or added to it. `gradient` holds the result's, pixel by pixel.
pub(crate) fn layer_norm_rows_backward(
    x: &[f32],
    gradient: &[f32],
    weight: &[f32],
    eps: f32,
    out: &mut ImageMut<'_>,
    add: bool,
) {
    let (channels, stride) = (weight.len(), out.layout().stride);
    let rows = x.par_chunks(channels).zip(gradient.par_chunks(channels));
    let rows = out.data_mut().par_chunks_mut(stride).zip(rows).with_min_len(GRAIN / channels + 1);
    rows.for_each_init(
        || vec![0f32; channels],
        |centred, (out, (x, gradient))| {
            let out = &mut out[..channels];
            let mean = sum(x) / channels as f32;
            for (to, x) in centred.iter_mut().zip(x) {
                *to = x - mean;
            }
            let scale = 1.0 / (dot(centred, centred) / channels as f32 + eps).sqrt();
            // The sums of δ = g·γ and of δ·(x − mean), in eight lanes.
            let (mut plain, mut along) = ([0f32; 8], [0f32; 8]);
            let whole = channels - channels % 8;
            for c in (0..whole).step_by(8) {
                for i in 0..8 {
                    let d = gradient[c + i] * weight[c + i];
                    plain[i] += d;
                    along[i] = multiply_add(d, centred[c + i], along[i]);
                }
            }
            let (mut plain, mut along) = (plain.iter().sum::<f32>(), along.iter().sum::<f32>());
            for c in whole..channels {
                let d = gradient[c] * weight[c];
                plain += d;
                along += d * centred[c];
            }
            let shift = plain / channels as f32;
            let slope = along * scale * scale / channels as f32;
            for c in 0..channels {
                let value = (gradient[c] * weight[c] - shift - centred[c] * slope) * scale;
                out[c] = if add { out[c] + value } else { value };
            }
        },
    );
}

/// The gradient of rows (a, b) whose result is a·gelu(b), in the place of the rows.
pub(crate) fn geglu_rows_backward(x: &mut [f32], gradient: &[f32], width: usize) {
    let rows = x.par_chunks_mut(2 * width).zip(gradient.par_chunks(width));
    rows.with_min_len(GRAIN / width + 1).for_each(|(x, gradient)| geglu_row(x, gradient));
}

/// Softmax of each row of `width` values, in place.
pub(crate) fn softmax_in_place(x: &mut [f32], width: usize) {
    let rows = (GRAIN / width).max(1);
    x.par_chunks_mut(rows * width).for_each(|piece| {
        for row in piece.chunks_exact_mut(width) {
            let largest = largest(row);
            row.iter_mut().for_each(|x| *x = math::exp(*x - largest));
            let scale = 1.0 / sum(row);
            row.iter_mut().for_each(|x| *x *= scale);
        }
    });
}

/// In eight lanes; −∞ of nothing.
fn largest(x: &[f32]) -> f32 {
    let (pieces, rest) = x.as_chunks::<8>();
    let mut lanes = [f32::NEG_INFINITY; 8];
    for piece in pieces {
        for (lane, x) in lanes.iter_mut().zip(piece) {
            *lane = if *x > *lane { *x } else { *lane };
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// The gradient of a softmax over rows of `width`, from its result `y`, in the place of the result's: y·(g − Σ g·y).
pub(crate) fn softmax_in_place_backward(y: &[f32], gradient: &mut [f32], width: usize) {
    let rows = (GRAIN / width).max(1) * width;
    gradient.par_chunks_mut(rows).zip(y.par_chunks(rows)).for_each(|(gradient, y)| {
        for (gradient, y) in gradient.chunks_exact_mut(width).zip(y.chunks_exact(width)) {
            let mean = dot(gradient, y);
            gradient.iter_mut().zip(y).for_each(|(g, y)| *g = y * (*g - mean));
        }
    });
}

/// Σ over pixels of a·bᵀ: [channels of a, channels of b], for few channels of `a`. Sums of a fixed number of pixels are joined in order.
pub(crate) fn outer(a: Image<'_>, b: Image<'_>) -> Vec<f32> {
    let (few, many, pixels) = (a.layout().channels, b.layout().channels, a.layout().pixels());
    let parts: Vec<Vec<f32>> = (0..pixels.div_ceil(BLOCK))
        .into_par_iter()
        .map(|block| {
            let mut sums = vec![0f32; few * many];
            for pixel in block * BLOCK..((block + 1) * BLOCK).min(pixels) {
                let (a, b) = (a.pixel(pixel), b.pixel(pixel));
                for (factor, sums) in a.iter().zip(sums.chunks_exact_mut(many)) {
                    for (sum, b) in sums.iter_mut().zip(b) {
                        *sum = multiply_add(*factor, *b, *sum);
                    }
                }
            }
            sums
        })
        .collect();
    let mut parts = parts.into_iter();
    let mut all = parts.next().unwrap_or_default();
    for part in parts {
        all.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    all
}
