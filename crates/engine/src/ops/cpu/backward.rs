//! Gradients of the forms of this folder, for f32 on the CPU.

use rayon::prelude::*;

use super::{
    GRAIN, math,
    norm::{Moments, group_moments},
    softmax::{dot, dot_centred, sum},
};
use crate::ops::Activation;

/// The derivative of `activation` at `x`.
#[inline(always)]
pub(super) fn slope(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Silu => math::silu_slope(x),
        Activation::Gelu => math::gelu_slope(x),
        Activation::QuickGelu => math::quick_gelu_slope(x),
    }
}

/// g·f′(x), with the match outside of the loop so that the compiler vectorises it.
fn times_slope(gradient: &mut [f32], x: &[f32], activation: Activation) {
    let pairs = gradient.iter_mut().zip(x);
    match activation {
        Activation::Silu => pairs.for_each(|(g, x)| *g *= math::silu_slope(*x)),
        Activation::Gelu => pairs.for_each(|(g, x)| *g *= math::gelu_slope(*x)),
        Activation::QuickGelu => pairs.for_each(|(g, x)| *g *= math::quick_gelu_slope(*x)),
    }
}

/// Gradient of an activation's input.
pub(in crate::ops) fn activate_backward(x: &[f32], gradient: &[f32], activation: Activation) -> Vec<f32> {
    let mut out = gradient.to_vec();
    out.par_chunks_mut(GRAIN).zip(x.par_chunks(GRAIN)).for_each(|(g, x)| times_slope(g, x, activation));
    out
}

/// Gradient of rows (a, b) whose result is a·gelu(b).
pub(in crate::ops) fn geglu_backward(x: &[f32], gradient: &[f32], width: usize) -> Vec<f32> {
    let mut out = vec![0f32; x.len()];
    let rows = (GRAIN / width).max(1);
    let pieces = out.par_chunks_mut(rows * 2 * width).zip(x.par_chunks(rows * 2 * width));
    pieces.zip(gradient.par_chunks(rows * width)).for_each(|((out, x), gradient)| {
        let rows = out.chunks_exact_mut(2 * width).zip(x.chunks_exact(2 * width));
        for ((out, x), g) in rows.zip(gradient.chunks_exact(width)) {
            let ((value, gate), (d_value, d_gate)) = (x.split_at(width), out.split_at_mut(width));
            for i in 0..width {
                d_value[i] = g[i] * math::gelu(gate[i]);
                d_gate[i] = g[i] * value[i] * math::gelu_slope(gate[i]);
            }
        }
    });
    out
}

/// The gradient of one row (a, b) whose result is a·gelu(b), in its place.
pub(super) fn geglu_row(x: &mut [f32], gradient: &[f32]) {
    let (values, gates) = x.split_at_mut(gradient.len());
    for ((value, gate), g) in values.iter_mut().zip(gates).zip(gradient) {
        let d_value = g * math::gelu(*gate);
        *gate = g * *value * math::gelu_slope(*gate);
        *value = d_value;
    }
}

/// Gradient of the input of a group normalisation with its activation; arguments as in the forward form.
///
/// With z = γ·x̂ + β and δ = g·f′(z)·γ: ∂x = (δ − mean(δ) − x̂·mean(δ·x̂)) / σ, means over the group.
#[expect(clippy::too_many_arguments, reason = "those of the forward form and the gradient")]
pub(in crate::ops) fn group_norm_backward(
    x: &[f32],
    gradient: &[f32],
    plane: usize,
    groups: usize,
    weight: &[f32],
    bias: &[f32],
    eps: f64,
    activation: Option<Activation>,
) -> Vec<f32> {
    let channels = weight.len();
    let per_group = channels / groups;
    let moments = group_moments(x, plane, per_group);
    let mut out = gradient.to_vec();
    let scale_of = |group: &Moments| 1.0 / (group.variance() + eps).sqrt();
    // First pass: δ in place, and its two sums for each plane.
    let sums: Vec<(f64, f64)> = out
        .par_chunks_mut(plane)
        .zip(x.par_chunks(plane))
        .with_min_len(GRAIN / plane + 1)
        .enumerate()
        .map(|(i, (delta, x))| {
            let (group, channel) = (&moments[i / per_group], i % channels);
            let (scale, mean) = (scale_of(group) as f32, group.mean() as f32);
            let (gain, shift) = (weight[channel], bias[channel]);
            let (mut plain, mut along) = (0f64, 0f64);
            for (delta, x) in delta.chunks_mut(2048).zip(x.chunks(2048)) {
                if let Some(activation) = activation {
                    for (d, x) in delta.iter_mut().zip(x) {
                        *d *= slope(activation, (x - mean) * scale * gain + shift);
                    }
                }
                delta.iter_mut().for_each(|d| *d *= gain);
                plain += f64::from(sum(delta));
                along += f64::from(dot_centred(delta, x, mean)) * f64::from(scale);
            }
            (plain, along)
        })
        .collect();
    let count = (plane * per_group) as f64;
    let means: Vec<(f64, f64)> = sums
        .chunks(per_group)
        .map(|planes| {
            let (plain, along) = planes.iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
            (plain / count, along / count)
        })
        .collect();
    out.par_chunks_mut(plane).zip(x.par_chunks(plane)).with_min_len(GRAIN / plane + 1).enumerate().for_each(
        |(i, (delta, x))| {
            let (group, (plain, along)) = (&moments[i / per_group], means[i / per_group]);
            let scale = scale_of(group);
            let (mean, factor) = (group.mean() as f32, (scale * along) as f32);
            let (plain, scale) = (plain as f32, scale as f32);
            for (d, x) in delta.iter_mut().zip(x) {
                *d = (*d - plain - (x - mean) * factor) * scale;
            }
        },
    );
    out
}

/// Gradient of the input of a layer normalisation.
pub(in crate::ops) fn layer_norm_backward(x: &[f32], gradient: &[f32], weight: &[f32], eps: f64) -> Vec<f32> {
    let width = weight.len();
    let mut out = vec![0f32; x.len()];
    let rows = (GRAIN / width).max(1) * width;
    out.par_chunks_mut(rows).zip(x.par_chunks(rows)).zip(gradient.par_chunks(rows)).for_each(
        |((out, x), gradient)| {
            let rows = out.chunks_exact_mut(width).zip(x.chunks_exact(width));
            for ((out, x), gradient) in rows.zip(gradient.chunks_exact(width)) {
                let moments = Moments::of(x);
                let (mean, scale) = (moments.mean() as f32, (1.0 / (moments.variance() + eps).sqrt()) as f32);
                for ((d, g), weight) in out.iter_mut().zip(gradient).zip(weight) {
                    *d = g * weight;
                }
                let plain = sum(out) / width as f32;
                let along = dot_centred(out, x, mean) * scale / width as f32;
                for (d, x) in out.iter_mut().zip(x) {
                    *d = (*d - plain - (x - mean) * scale * along) * scale;
                }
            }
        },
    );
    out
}

/// Gradient of a softmax over rows of `width` values, from its result `y`: y·(g − Σ g·y), times `scale`.
pub(in crate::ops) fn softmax_backward(y: &[f32], gradient: &[f32], width: usize, scale: f32) -> Vec<f32> {
    let mut out = gradient.to_vec();
    let rows = (GRAIN / width).max(1) * width;
    out.par_chunks_mut(rows).zip(y.par_chunks(rows)).for_each(|(out, y)| {
        for (out, y) in out.chunks_exact_mut(width).zip(y.chunks_exact(width)) {
            let mean = dot(out, y);
            for (d, y) in out.iter_mut().zip(y) {
                *d = y * (*d - mean) * scale;
            }
        }
    });
    out
}
