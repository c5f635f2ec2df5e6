//! Activations over whole tensors.

use rayon::prelude::*;

use super::{GRAIN, math};
use crate::ops::Activation;

/// `activation` of every value.
pub(in crate::ops) fn activate(x: &[f32], activation: Activation) -> Vec<f32> {
    let mut y = x.to_vec();
    y.par_chunks_mut(GRAIN).for_each(|piece| in_place(piece, activation));
    y
}

/// `activation` of every value, in place, on this thread.
pub(super) fn in_place(x: &mut [f32], activation: Activation) {
    match activation {
        Activation::Silu => x.iter_mut().for_each(|x| *x = math::silu(*x)),
        Activation::Gelu => x.iter_mut().for_each(|x| *x = math::gelu(*x)),
        Activation::QuickGelu => x.iter_mut().for_each(|x| *x = math::quick_gelu(*x)),
    }
}

/// Rows of `2·width` values (a, b) to rows of `width` values a·gelu(b).
pub(in crate::ops) fn geglu(x: &[f32], width: usize) -> Vec<f32> {
    let mut y = vec![0f32; x.len() / 2];
    let rows = (GRAIN / width).max(1);
    y.par_chunks_mut(rows * width).zip(x.par_chunks(rows * 2 * width)).for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(2 * width)) {
            let (value, gate) = x.split_at(width);
            for ((y, value), gate) in y.iter_mut().zip(value).zip(gate) {
                *y = value * math::gelu(*gate);
            }
        }
    });
    y
}
