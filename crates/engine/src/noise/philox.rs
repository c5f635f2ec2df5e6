//! `torch.Generator("cuda")`: Philox 4×32 with 10 rounds (Salmon et al. 2011) and Box-Muller, computed without
//! a device.
//!
//! Thread i of the device has subsequence i of the generator. A call of `torch.randn` takes one block of four
//! 32-bit numbers per thread and turns it into four normal ones, which land a whole grid apart: while the tensor has
//! no more numbers than the device has threads, only the first of each four is used. Then the offset in all
//! subsequences moves on. Source: `ATen/native/cuda/DistributionTemplates.h` (`calc_execution_policy`,
//! `distribution_elementwise_grid_stride_kernel`) and cuRAND's `curand_normal.h`.
//!
//! The integers are exact. A device computes the logarithm, sine and cosine in its own way, so that its numbers
//! may differ from these in the last bits of an f32.

use std::f32::consts::TAU;

/// `torch.Generator("cuda")` with a seed.
#[derive(Clone, Debug)]
pub(super) struct TorchCuda {
    key: [u32; 2],
    /// Blocks that every subsequence has given.
    offset: u64,
    /// Threads that the device holds at a time; `None`: as many as there are numbers.
    threads: Option<usize>,
}

/// Threads of one block of torch's kernel.
const BLOCK_THREADS: usize = 256;
/// 2⁻³².
const STEP: f32 = 1.0 / 4_294_967_296.0;

impl TorchCuda {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the seed")]
    pub(super) fn new(seed: u64, threads: Option<usize>) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], offset: 0, threads }
    }

    /// What `torch.randn(count, device="cuda")` returns.
    pub(super) fn normals(&mut self, count: usize) -> Vec<f32> {
        let blocks = count.div_ceil(BLOCK_THREADS);
        let most = self.threads.map_or(blocks, |threads| (threads / BLOCK_THREADS).max(1));
        let grid = (blocks.min(most) * BLOCK_THREADS).max(1);
        let mut numbers = vec![0.0; count];
        let rounds = count.div_ceil(grid * 4);
        for round in 0..rounds {
            let offset = self.offset.wrapping_add(round as u64);
            for thread in 0..grid.min(count) {
                let at = |lane: usize| (round * 4 + lane) * grid + thread;
                if at(0) >= count {
                    break;
                }
                let [a, b, c, d] = philox(counter(offset, thread as u64), self.key);
                for (lane, value) in [box_muller(a, b), box_muller(c, d)].as_flattened().iter().enumerate() {
                    if let Some(number) = numbers.get_mut(at(lane)) {
                        *number = *value;
                    }
                }
            }
        }
        self.offset = self.offset.wrapping_add(rounds as u64);
        numbers
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the halves of both numbers")]
fn counter(offset: u64, subsequence: u64) -> [u32; 4] {
    [offset as u32, (offset >> 32) as u32, subsequence as u32, (subsequence >> 32) as u32]
}

/// Philox 4×32-10.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let (high0, low0) = multiply(0xd251_1f53, counter[0]);
        let (high1, low1) = multiply(0xcd9e_8d57, counter[2]);
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

#[expect(clippy::cast_possible_truncation, reason = "the halves of the product")]
fn multiply(a: u32, b: u32) -> (u32, u32) {
    let product = u64::from(a) * u64::from(b);
    ((product >> 32) as u32, product as u32)
}

/// Two normal numbers from two integers; cuRAND gives the sine first.
fn box_muller(x: u32, y: u32) -> [f32; 2] {
    // Compiled for a device, both are fused multiply-adds.
    let u = (x as f32).mul_add(STEP, STEP / 2.0);
    let v = (y as f32).mul_add(STEP * TAU, STEP * TAU / 2.0);
    let radius = (-2.0 * u.ln()).sqrt();
    let (sin, cos) = v.sin_cos();
    [radius * sin, radius * cos]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_integers_are_the_published_ones() {
        // Random123's known answers for philox4x32 with 10 rounds.
        let known = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in known {
            assert_eq!(philox(counter, key), expected);
        }
    }

    #[test]
    fn seed_zero_gives_what_a_device_gives() {
        // torch.manual_seed(0); torch.randn(12, device="cuda"), as A1111 prints it in rng_philox.py.
        let device = [
            -0.924_662_6_f32,
            -0.425_344_15,
            -2.643_845_8,
            0.145_183_88,
            -0.120_866_47,
            -0.579_725_6,
            -0.622_851_2,
            -0.328_387_1,
            -1.074_542_3,
            -0.363_144_07,
            -1.671_050_7,
            2.265_505,
        ];
        let found = TorchCuda::new(0, None).normals(12);
        for (found, expected) in found.iter().zip(device) {
            assert!((found - expected).abs() <= 1e-6, "{found} for {expected}");
        }
    }

    #[test]
    fn a_device_is_seen_only_by_tensors_that_are_larger() {
        let (mut small, mut large) = (TorchCuda::new(5, Some(512)), TorchCuda::new(5, None));
        assert_eq!(small.normals(512), large.normals(512));
        let (ours, theirs) = (small.normals(3000), large.normals(3000));
        assert_eq!(ours[..512], theirs[..512]);
        assert_ne!(ours[512..], theirs[512..]);
        // 3000 numbers are two rounds of 512 threads with four numbers each.
        assert_eq!((small.offset, large.offset), (3, 2));
        assert_eq!(TorchCuda::new(5, Some(0)).normals(1).len(), 1);
        assert!(TorchCuda::new(5, None).normals(0).is_empty());
    }
}
