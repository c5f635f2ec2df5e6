//! Brownian motion whose increments depend on a seed and on the interval alone, not on what was asked before:
//! torchsde's `BrownianInterval` with `halfway_tree`, `tol` 1e-6 and `pool_size` 24, as k-diffusion and diffusers
//! use it for their SDE samplers.
//!
//! The whole interval is halved again and again (a virtual Brownian tree, Li et al. 2020, section 4). Each node
//! has a seed of its own, from `SeedSequence(seed, spawn_key = (path from the root in binary, depth))`; its noise
//! splits its increment between its halves by the Brownian bridge. All points are rounded to six decimals.

use adire_protocol::Rng;
use candle_core::{Device, Tensor};

use super::{Generator, seed_sequence::seeds};
use crate::Result;

/// torchsde's `pool_size` as k-diffusion sets it; part of what a seed means.
const POOL: usize = 24;
/// A σ of 4096 has 32 halvings to a millionth. More can only come from an absurd schedule.
const MAX_HALVINGS: u64 = 60;

/// Noise for steps between two σ, for a batch.
#[derive(Clone, Debug)]
pub struct BrownianNoise {
    /// One for the whole batch, or one per image.
    trees: Vec<BrownianTree>,
    shape: Vec<usize>,
}

impl BrownianNoise {
    pub(super) fn new(trees: Vec<BrownianTree>, shape: &[usize]) -> Self {
        Self { trees, shape: shape.to_vec() }
    }

    /// Unit normal noise for a step from `sigma` down to `next`: (W(next) − W(sigma)) / √(sigma − next), f32,
    /// of the batch's shape. Overlapping steps get correlated noise.
    ///
    /// # Errors
    /// The device has no memory left.
    pub fn between(&self, sigma: f32, next: f32, device: &Device) -> Result<Tensor> {
        // Downwards in σ: the increment with the other sign.
        let scale = -(sigma - next).abs().sqrt();
        let increments = self.trees.iter().flat_map(|tree| tree.increment(next, sigma));
        let numbers: Vec<f32> = increments.map(|w| w / scale).collect();
        Ok(Tensor::from_vec(numbers, self.shape.as_slice(), device)?)
    }
}

/// One motion of many independent numbers.
#[derive(Clone, Debug)]
pub(super) struct BrownianTree {
    rng: Rng,
    seed: u64,
    numbers: usize,
    start: f64,
    end: f64,
    /// Increment over the whole interval.
    whole: Vec<f32>,
}

/// A part of the interval that halving gives.
#[derive(Clone, Copy, Debug)]
struct Node {
    start: f64,
    end: f64,
    path: u64,
    depth: u64,
}

impl BrownianTree {
    pub(super) fn new(rng: Rng, seed: u64, low: f32, high: f32, numbers: usize) -> Self {
        let (low, high) = (f64::from(low), f64::from(high));
        let [seed_of_whole] = seeds::<POOL, 1>(seed, &[]);
        let spread = (high - low).max(0.0).sqrt() as f32;
        let whole = normals(rng, seed_of_whole, numbers).into_iter().map(|x| x * spread).collect();
        Self { rng, seed, numbers, start: rounded(low), end: rounded(high), whole }
    }

    /// W(to) − W(from); points outside count as the ends.
    fn increment(&self, from: f32, to: f32) -> Vec<f32> {
        let inside = |at: f32| rounded(f64::from(at).max(self.start).min(self.end));
        let mut sum = vec![0.0; self.numbers];
        let (from, to) = (inside(from), inside(to));
        if from < to {
            let root = Node { start: self.start, end: self.end, path: 0, depth: 0 };
            self.add(root, &self.whole, from, to, &mut sum);
        }
        sum
    }

    /// Adds the increment over `[from, to]`, which lies in `node`, to `sum`.
    fn add(&self, node: Node, increment: &[f32], from: f64, to: f64, sum: &mut [f32]) {
        let Node { start, end, path, depth } = node;
        let middle = rounded(0.5 * (end + start));
        if (from == start && to == end) || !(start < middle && middle < end) || depth >= MAX_HALVINGS {
            for (sum, increment) in sum.iter_mut().zip(increment) {
                *sum += increment;
            }
            return;
        }
        let (before, after) = (middle - start, end - middle);
        let share = 1.0 / (end - start);
        let [seed_of_node] = seeds::<POOL, 1>(self.seed, &[path, depth]);
        let noise = normals(self.rng, seed_of_node, self.numbers);
        let (before_32, share_32) = (before as f32, share as f32);
        let spread = (before * after * share).sqrt() as f32;
        let left: Vec<f32> =
            increment.iter().zip(noise).map(|(w, noise)| before_32 * w * share_32 + spread * noise).collect();
        if from < middle {
            let node = Node { start, end: middle, path: 2 * path, depth: depth + 1 };
            self.add(node, &left, from, to.min(middle), sum);
        }
        if to > middle {
            let right: Vec<f32> = increment.iter().zip(&left).map(|(w, left)| w - left).collect();
            let node = Node { start: middle, end, path: 2 * path + 1, depth: depth + 1 };
            self.add(node, &right, from.max(middle), to, sum);
        }
    }
}

fn normals(rng: Rng, seed: u32, count: usize) -> Vec<f32> {
    Generator::new(rng, u64::from(seed)).normals(count)
}

/// Python's `round(x, 6)`: the f64 nearest to the decimal number, which is what formatting and reading give.
fn rounded(x: f64) -> f64 {
    format!("{x:.6}").parse().unwrap_or(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_sum_to_the_whole_and_neighbours_do_not_matter() {
        let tree = BrownianTree::new(Rng::Cpu, 7, 0.03, 14.6, 20);
        let (one, two) = (tree.increment(0.5, 2.25), tree.increment(2.25, 9.0));
        let both = tree.increment(0.5, 9.0);
        for ((one, two), both) in one.iter().zip(&two).zip(both) {
            assert!((one + two - both).abs() < 1e-5);
        }
        let noise =
            BrownianNoise::new(vec![tree.clone(), BrownianTree::new(Rng::Cpu, 8, 0.03, 14.6, 20)], &[2, 20]);
        let rows = noise.between(9.0, 2.25, &Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
        let scale = -(9.0f32 - 2.25).sqrt();
        assert_eq!(rows[0], two.iter().map(|w| w / scale).collect::<Vec<_>>());
    }

    #[test]
    fn variance_grows_with_the_interval() {
        let tree = BrownianTree::new(Rng::Cpu, 3, 0.0, 10.0, 20_000);
        for (from, to) in [(0.0, 10.0), (1.0, 1.5), (4.9, 5.1), (0.0, 1e-6)] {
            let numbers = tree.increment(from, to);
            let variance = numbers.iter().map(|w| w * w).sum::<f32>() / 20_000.0;
            assert!((variance / (to - from) - 1.0).abs() < 0.05, "{from} to {to}: {variance}");
        }
    }

    #[test]
    fn absurd_intervals_end() {
        for (low, high) in [(0.0, f32::INFINITY), (0.0, f32::MAX), (1.0, 1.0), (2.0, 1.0), (f32::NAN, 1.0)] {
            let tree = BrownianTree::new(Rng::Cpu, 3, low, high, 2);
            for (from, to) in [(0.5, 0.75), (0.75, 0.5), (f32::NAN, 1.0), (-1.0, f32::INFINITY)] {
                assert_eq!(tree.increment(from, to).len(), 2);
            }
        }
    }
}
