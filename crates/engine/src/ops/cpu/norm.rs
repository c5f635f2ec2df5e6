//! Group and layer normalisation in two passes, with the activation in the second.

use rayon::prelude::*;

use super::{GRAIN, elementwise, multiply_add, softmax::sum};
use crate::ops::Activation;

/// Mean and sum of squared deviations of some values.
#[derive(Clone, Copy)]
pub(super) struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    pub(super) fn of(x: &[f32]) -> Self {
        let mean = f64::from(sum(x)) / x.len() as f64;
        let (pieces, rest) = x.as_chunks::<8>();
        let (centre, mut lanes, mut squares) = (mean as f32, [0f32; 8], 0f64);
        for (i, piece) in pieces.iter().enumerate() {
            for (lane, x) in lanes.iter_mut().zip(piece) {
                *lane = multiply_add(x - centre, x - centre, *lane);
            }
            // f32 lanes are emptied before they lose digits.
            if i % 512 == 511 {
                squares += lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>();
                lanes = [0.0; 8];
            }
        }
        squares += lanes
            .iter()
            .chain([rest.iter().map(|x| (x - centre).powi(2)).sum::<f32>()].iter())
            .map(|lane| f64::from(*lane))
            .sum::<f64>();
        Self { count: x.len() as f64, mean, squares }
    }

    pub(super) fn mean(&self) -> f64 {
        self.mean
    }

    /// Biased, as normalisations take it.
    pub(super) fn variance(&self) -> f64 {
        self.squares / self.count
    }

    /// Both together (Chan et al. 1979).
    fn with(self, other: Self) -> Self {
        let count = self.count + other.count;
        let delta = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + delta * other.count / count,
            squares: self.squares + other.squares + delta * delta * self.count * other.count / count,
        }
    }
}

/// Those of every `per_group` planes of `plane` values.
pub(super) fn group_moments(x: &[f32], plane: usize, per_group: usize) -> Vec<Moments> {
    let planes: Vec<Moments> = x.par_chunks(plane).with_min_len(GRAIN / plane + 1).map(Moments::of).collect();
    planes
        .chunks(per_group)
        .map(|planes| planes[1..].iter().fold(planes[0], |all, plane| all.with(*plane)))
        .collect()
}

/// `x` as planes of `plane` values, `weight.len()` of them an image, in `groups` groups.
pub(in crate::ops) fn group_norm(
    x: &[f32],
    plane: usize,
    groups: usize,
    weight: &[f32],
    bias: &[f32],
    eps: f64,
    activation: Option<Activation>,
) -> Vec<f32> {
    let channels = weight.len();
    let per_group = channels / groups;
    let groups = group_moments(x, plane, per_group);
    let mut y = vec![0f32; x.len()];
    y.par_chunks_mut(plane).zip(x.par_chunks(plane)).with_min_len(GRAIN / plane + 1).enumerate().for_each(
        |(i, (y, x))| {
            let (group, channel) = (groups[i / per_group], i % channels);
            let scale = f64::from(weight[channel]) / (group.variance() + eps).sqrt();
            let shift = (f64::from(bias[channel]) - group.mean * scale) as f32;
            let scale = scale as f32;
            // In pieces that stay in the first cache between the two loops.
            for (y, x) in y.chunks_mut(2048).zip(x.chunks(2048)) {
                for (y, x) in y.iter_mut().zip(x) {
                    *y = multiply_add(*x, scale, shift);
                }
                if let Some(activation) = activation {
                    elementwise::in_place(y, activation);
                }
            }
        },
    );
    y
}

/// Each row of `weight.len()` values.
pub(in crate::ops) fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f64) -> Vec<f32> {
    let width = weight.len();
    let mut y = vec![0f32; x.len()];
    let rows = (GRAIN / width).max(1);
    y.par_chunks_mut(rows * width).zip(x.par_chunks(rows * width)).for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            let moments = Moments::of(x);
            let scale = (1.0 / (moments.variance() + eps).sqrt()) as f32;
            let mean = moments.mean as f32;
            for (((y, x), weight), bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
                *y = multiply_add((x - mean) * scale, *weight, *bias);
            }
        }
    });
    y
}
