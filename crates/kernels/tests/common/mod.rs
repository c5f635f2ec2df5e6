//! Random operands in odd layouts, and what the kernels are compared with, in f64.

#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses a part")]

use adire_kernels::{Activation, Image, ImageMut, Isa, Layout};

/// A sequence of random numbers, about normal.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 24) as f32 * 2.0 - 1.0
    }

    pub(crate) fn number(&mut self) -> f32 {
        (0..4).map(|_| self.uniform()).sum::<f32>() * 0.866
    }

    pub(crate) fn numbers(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.number()).collect()
    }
}

/// An image in memory of its own: gaps between its pixels are NaN, borders zero.
pub(crate) struct Owned {
    pub(crate) layout: Layout,
    pub(crate) data: Vec<f32>,
}

impl Owned {
    pub(crate) fn random(layout: Layout, random: &mut Random) -> Self {
        let mut data = vec![f32::NAN; layout.len()];
        let lines = layout.batch * (layout.height + 2 * layout.border) * (layout.width + 2 * layout.border);
        for pixel in 0..lines {
            data[pixel * layout.stride..][..layout.channels].fill(0.0);
        }
        for pixel in 0..layout.pixels() {
            for to in &mut data[layout.offset(pixel)..][..layout.channels] {
                *to = random.number();
            }
        }
        Self { layout, data }
    }

    /// One to write into: everything is `f32::MAX`.
    pub(crate) fn unwritten(layout: Layout) -> Self {
        Self { layout, data: vec![f32::MAX; layout.len()] }
    }

    pub(crate) fn view(&self) -> Image<'_> {
        Image::new(&self.data, self.layout)
    }

    pub(crate) fn view_mut(&mut self) -> ImageMut<'_> {
        ImageMut::new(&mut self.data, self.layout)
    }

    pub(crate) fn pixel(&self, index: usize) -> &[f32] {
        &self.data[self.layout.offset(index)..][..self.layout.channels]
    }

    /// Panics if anything beside pixels (and the border, if `border`) was written.
    pub(crate) fn check_gaps(&self, border: bool) {
        let mut written = vec![false; self.data.len()];
        let layout = self.layout;
        if border {
            let all = layout.batch * (layout.height + 2 * layout.border) * (layout.width + 2 * layout.border);
            for pixel in 0..all {
                written[pixel * layout.stride..][..layout.channels].fill(true);
            }
        }
        for pixel in 0..layout.pixels() {
            written[layout.offset(pixel)..][..layout.channels].fill(true);
        }
        for (i, (value, written)) in self.data.iter().zip(written).enumerate() {
            assert!(written || *value == f32::MAX, "{layout:?}: number {i} was written");
        }
    }
}

/// Panics unless `got` is within `bound` of `wanted`.
pub(crate) fn close(got: f32, wanted: f64, bound: f64, what: &dyn std::fmt::Debug) {
    assert!(
        (f64::from(got) - wanted).abs() <= bound,
        "{what:?}: {got} instead of {wanted}, more than {bound:.2e} away"
    );
}

pub(crate) fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
    }
}

fn erf(x: f64) -> f64 {
    if x.abs() > 5.0 {
        return x.signum();
    }
    let (mut sum, mut term) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

/// Runs on each set of instructions of this processor.
pub(crate) fn on_each_isa(mut test: impl FnMut(Isa)) {
    for isa in Isa::available() {
        isa.run(|| test(isa));
    }
}

/// The results of `work` on pools of 1, 2 and 3 threads, which must be the same to the bit.
pub(crate) fn same_on_any_threads(work: impl Fn() -> Vec<f32> + Sync) {
    let isa = Isa::current();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
        pool.install(|| isa.run(&work)).into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let one = run(1);
    assert!(one == run(2), "two threads compute something else than one");
    assert!(one == run(3), "three threads compute something else than one");
}
