//! `torch.Generator("cpu")`: MT19937, Box-Muller over blocks of 16.
//!
//! The integers and the uniform numbers are exact; the logarithm, sine and cosine may differ from torch's
//! vectorised ones in the last bits of an f32. Source: `ATen/core/MT19937RNGEngine.h`, `DistributionsHelper.h` and
//! `native/cpu/DistributionTemplates.h`.

use std::{f32, f64::consts::TAU};

/// `torch.Generator("cpu")`.
#[derive(Clone, Debug)]
pub(super) struct TorchCpu {
    engine: Mt19937,
    /// The second normal number of the last Box-Muller pair of the scalar path. It outlives calls of the
    /// vectorised path, as in torch.
    cached: Option<f64>,
}

impl TorchCpu {
    pub(super) fn new(seed: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "torch keeps the low 32 bits of the seed")]
        let seed = seed as u32;
        Self { engine: Mt19937::new(seed), cached: None }
    }

    /// What `torch.randn(count)` returns. Shorter ones than a block of 16 take torch's scalar path in f64.
    pub(super) fn normals(&mut self, count: usize) -> Vec<f32> {
        if count < BLOCK {
            (0..count).map(|_| self.scalar_normal() as f32).collect()
        } else {
            self.fill(count)
        }
    }

    fn scalar_normal(&mut self) -> f64 {
        if let Some(cached) = self.cached.take() {
            return cached;
        }
        let (u1, u2) = (self.uniform_f64(), self.uniform_f64());
        let radius = (-2.0 * (-u2).ln_1p()).sqrt();
        let angle = TAU * u1;
        self.cached = Some(radius * angle.sin());
        radius * angle.cos()
    }

    fn fill(&mut self, count: usize) -> Vec<f32> {
        let mut data: Vec<f32> = (0..count).map(|_| self.uniform_f32()).collect();
        for block in data.chunks_exact_mut(BLOCK) {
            box_muller(block);
        }
        if !count.is_multiple_of(BLOCK) {
            // As torch does, redraw the last 16 numbers, overwriting those of full blocks.
            let tail = &mut data[count - BLOCK..];
            for value in tail.iter_mut() {
                *value = self.uniform_f32();
            }
            box_muller(tail);
        }
        data
    }

    /// In [0, 1), 24 random bits.
    fn uniform_f32(&mut self) -> f32 {
        (self.engine.next() & 0x00ff_ffff) as f32 / (1u32 << 24) as f32
    }

    /// In [0, 1), 53 random bits; the first draw gives the high half.
    fn uniform_f64(&mut self) -> f64 {
        let (high, low) = (u64::from(self.engine.next()), u64::from(self.engine.next()));
        (((high << 32) | low) & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64
    }
}

/// Normal numbers that torch makes at a time.
const BLOCK: usize = 16;

/// Turns 16 uniform numbers into normal ones: value j and value j + 8 make a pair.
fn box_muller(block: &mut [f32]) {
    let (first, second) = block.split_at_mut(BLOCK / 2);
    for (a, b) in first.iter_mut().zip(second) {
        // 1 − u is exact in f32 and lies in (0, 1]. Intermediate results are f32 where torch's AVX2 kernel keeps
        // them so: the rounding of the angle alone moves the result by up to 1e-6.
        let radius = (-2.0 * (1.0 - *a).ln()).sqrt();
        let (sin, cos) = (f32::consts::TAU * *b).sin_cos();
        *a = radius * cos;
        *b = radius * sin;
    }
}

/// Mersenne Twister (Matsumoto and Nishimura 1998), 32 bits.
#[derive(Clone, Debug)]
struct Mt19937 {
    state: Vec<u32>,
    next: usize,
}

impl Mt19937 {
    const N: usize = 624;
    const M: usize = 397;

    fn new(seed: u32) -> Self {
        let mut state = Vec::with_capacity(Self::N);
        let mut last = seed;
        state.push(last);
        for i in 1..Self::N as u32 {
            last = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i);
            state.push(last);
        }
        Self { state, next: Self::N }
    }

    fn twist(&mut self) {
        for i in 0..Self::N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % Self::N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + Self::M) % Self::N] ^ (y >> 1) ^ odd;
        }
        self.next = 0;
    }

    fn next(&mut self) -> u32 {
        if self.next == Self::N {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_twister_is_the_published_one() {
        // Matsumoto and Nishimura's reference: seed 5489, the ten-thousandth number.
        let mut engine = Mt19937::new(5489);
        let last = (0..10_000).map(|_| engine.next()).last();
        assert_eq!(last, Some(4_123_659_995));
    }
}
