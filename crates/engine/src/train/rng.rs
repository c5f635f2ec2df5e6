//! Stateless random numbers of a training run: each is a function of the seed and its position, so a resumed run draws
//! the same numbers.

use adire_protocol::Rng;
use candle_core::{Device, Tensor};
use sha2::{Digest as _, Sha256};

use crate::{NoiseSource, Result};

/// Purpose of a random number; each has a stream of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RngStream {
    Factors,
    Order,
    Crop,
    Timestep,
    Noise,
    NoiseOffset,
    Posterior,
    Caption,
    HeldOut,
    Split,
}

/// Random number generator of a training run.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunRng {
    seed: u64,
}

impl RunRng {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// 64 bits derived from seed, stream, step and index.
    fn bits(self, stream: RngStream, at: u64, index: u64) -> u64 {
        let mut hasher = Sha256::new();
        hasher.update(self.seed.to_le_bytes());
        hasher.update([stream as u8]);
        hasher.update(at.to_le_bytes());
        hasher.update(index.to_le_bytes());
        let digest = hasher.finalize();
        digest.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// Uniform integer from 0 to `count` − 1; `count` is at least 1.
    pub(super) fn uniform_below(self, count: usize, stream: RngStream, at: u64, index: u64) -> usize {
        ((u128::from(self.bits(stream, at, index)) * count as u128) >> 64) as usize
    }

    /// Uniform number in [0, 1).
    pub(super) fn unit(self, stream: RngStream, at: u64, index: u64) -> f64 {
        (self.bits(stream, at, index) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal tensor, f32.
    pub(super) fn normal(
        self,
        shape: &[usize],
        stream: RngStream,
        at: u64,
        device: &Device,
    ) -> Result<Tensor> {
        NoiseSource::new(Rng::Cpu, self.bits(stream, at, 0)).randn(shape, device)
    }

    /// Random permutation of 0 to `count` − 1 (Fisher–Yates).
    pub(super) fn order(self, count: usize, stream: RngStream, at: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for i in (1..count).rev() {
            order.swap(i, self.uniform_below(i + 1, stream, at, i as u64));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_depend_on_seed_stream_step_and_index() {
        let (a, b) = (RunRng::new(1), RunRng::new(2));
        assert_eq!(a.bits(RngStream::Noise, 3, 4), a.bits(RngStream::Noise, 3, 4));
        let all = [
            a.bits(RngStream::Noise, 3, 4),
            b.bits(RngStream::Noise, 3, 4),
            a.bits(RngStream::Timestep, 3, 4),
            a.bits(RngStream::Noise, 4, 4),
            a.bits(RngStream::Noise, 3, 5),
        ];
        assert!((1..all.len()).all(|i| !all[..i].contains(&all[i])));
    }

    #[test]
    fn numbers_are_uniform() {
        let rng = RunRng::new(7);
        let mut counts = [0; 10];
        for i in 0..10_000 {
            counts[rng.uniform_below(10, RngStream::Timestep, i, 0)] += 1;
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
        let mean = (0..10_000).map(|i| rng.unit(RngStream::Caption, i, 0)).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.01);
        let mut order = rng.order(50, RngStream::Order, 0);
        assert_ne!(order, rng.order(50, RngStream::Order, 1));
        order.sort_unstable();
        assert!(order.into_iter().eq(0..50));
    }
}
