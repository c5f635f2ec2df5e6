//! Softmax over rows.

use rayon::prelude::*;

use super::{GRAIN, math, multiply_add};

/// Softmax of `scale`·x over each row of `width` values.
pub(in crate::ops) fn softmax_rows(x: &[f32], width: usize, scale: f32) -> Vec<f32> {
    let mut y = x.to_vec();
    let rows = (GRAIN / width).max(1);
    y.par_chunks_mut(rows * width).for_each(|piece| {
        for row in piece.chunks_exact_mut(width) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|x| *x = math::exp((*x - largest) * scale));
            let sum = sum(row);
            row.iter_mut().for_each(|x| *x /= sum);
        }
    });
    y
}

/// The sum in eight lanes: vector code, and less rounding than one by one.
pub(super) fn sum(x: &[f32]) -> f32 {
    let (pieces, rest) = x.as_chunks::<8>();
    let mut lanes = [0f32; 8];
    for piece in pieces {
        for (lane, x) in lanes.iter_mut().zip(piece) {
            *lane += x;
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// The inner product of `x` and `y`, in eight lanes.
pub(super) fn dot(x: &[f32], y: &[f32]) -> f32 {
    dot_centred(x, y, 0.0)
}

/// The inner product of `x` and `y` − `centre`: exact where the centre is large against what differs from it.
pub(super) fn dot_centred(x: &[f32], y: &[f32], centre: f32) -> f32 {
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<8>(), y.as_chunks::<8>());
    let mut lanes = [0f32; 8];
    for (x, y) in x.iter().zip(y) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane = multiply_add(*x, *y - centre, *lane);
        }
    }
    lanes.iter().sum::<f32>() + x_rest.iter().zip(y_rest).map(|(x, y)| x * (y - centre)).sum::<f32>()
}
