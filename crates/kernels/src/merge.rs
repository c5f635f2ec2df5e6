//! Adapters merged into packed weights, always from pristine ones.

use std::ops::Range;

use rayon::prelude::*;

use crate::buffer::Buffer;
use crate::panels::{Data, Panels, narrow, next_version};
use crate::parallel::{Shared, Use, each, scratch};
use crate::simd::{Simd, kernel};

/// A change of weights.
#[derive(Clone, Copy, Debug)]
pub enum Delta<'a> {
    /// `strength · up · down`.
    LowRank {
        /// `[outputs, rank]`.
        up: &'a [f32],
        /// `[rank, inputs]`; for a 3×3 convolution `[rank, inputs, 3, 3]`.
        down: &'a [f32],
        /// The rank.
        rank: usize,
        /// What the product is multiplied by.
        strength: f32,
    },
    /// `strength · delta`.
    Dense {
        /// In the shape of the weights.
        delta: &'a [f32],
        /// What it is multiplied by.
        strength: f32,
    },
}

/// A change of some rows of weights, such as the queries of a fused QKV.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The first output that changes.
    pub first: usize,
    /// How many change.
    pub outputs: usize,
    /// By what.
    pub delta: Delta<'a>,
}

impl Change<'_> {
    fn outputs(&self) -> Range<usize> {
        self.first..self.first + self.outputs
    }

    fn check(&self, outputs: usize, row: usize) {
        assert!(self.first + self.outputs <= outputs, "a change lies within the outputs");
        match self.delta {
            Delta::LowRank { up, down, rank, .. } => {
                assert_eq!(up.len(), self.outputs * rank, "up is [outputs, rank]");
                assert_eq!(down.len(), rank * row, "down is [rank, inputs]");
            }
            Delta::Dense { delta, .. } => {
                assert_eq!(delta.len(), self.outputs * row, "a dense change has the weights' shape");
            }
        }
    }
}

/// The rank of a change in the order of a panel's rows, `[tap][input][rank]`, filled up with zeros.
struct Turned {
    down: Buffer,
    rank: usize,
}

/// The rank, filled up to what a pass may have.
fn padded(rank: usize) -> usize {
    rank.next_multiple_of(4)
}

impl Turned {
    fn new(down: &[f32], rank: usize, inputs: usize, taps: usize) -> Self {
        let padded = padded(rank);
        let mut turned = Buffer::new(inputs * taps * padded);
        for input in 0..inputs {
            for tap in 0..taps {
                for r in 0..rank {
                    turned[(tap * inputs + input) * padded + r] = down[(r * inputs + input) * taps + tap];
                }
            }
        }
        Self { down: turned, rank: padded }
    }
}

impl Panels {
    /// Sets the weights to `pristine` plus `changes`. Panels that neither the last merge changed nor this one are left alone.
    pub(crate) fn merge(&mut self, pristine: &Self, changes: &[Change<'_>]) {
        assert!(
            (self.outputs, self.inputs, self.taps, self.width, self.gated, self.dtype())
                == (
                    pristine.outputs,
                    pristine.inputs,
                    pristine.taps,
                    pristine.width,
                    pristine.gated,
                    pristine.dtype()
                ),
            "merged weights have the pristine ones' shape"
        );
        let (inputs, taps) = (self.inputs, self.taps);
        let row = inputs * taps;
        changes.iter().for_each(|change| change.check(self.outputs, row));
        let count = self.count();
        let touched: Vec<Vec<usize>> = (0..count).map(|panel| self.touching(panel, changes)).collect();
        let stale: Vec<bool> = match &self.merged {
            _ if self.version == pristine.version => vec![false; count],
            Some((version, changed)) if *version == pristine.version => changed.clone(),
            _ => vec![true; count],
        };
        let turned: Vec<Option<Turned>> = changes
            .par_iter()
            .map(|change| match change.delta {
                Delta::LowRank { down, rank, .. } => Some(Turned::new(down, rank, inputs, taps)),
                Delta::Dense { .. } => None,
            })
            .collect();
        let mut data = std::mem::replace(&mut self.data, Data::F32(Buffer::new(0)));
        let this = &*self;
        let work = 8 * this.outputs * row;
        let idle = |panel: usize| touched[panel].is_empty() && !stale[panel];
        match (&mut data, &pristine.data) {
            (Data::F32(data), Data::F32(from)) => {
                let to = Shared::new(data);
                each(count, work, |panel| {
                    if !idle(panel) {
                        let (start, width) = this.panel(panel);
                        let from = &from[start..][..row * width];
                        // SAFETY: this task's panel.
                        unsafe {
                            this.merge_panel(
                                panel,
                                &touched[panel],
                                changes,
                                &turned,
                                from,
                                to.get().add(start),
                                true,
                            )
                        };
                    }
                });
            }
            (Data::Bf16(data), Data::Bf16(from)) => {
                let to = Shared::new(data);
                each(count, work, |panel| {
                    let (start, width) = this.panel(panel);
                    // SAFETY: this task's panel.
                    let to = unsafe { to.get().add(start) };
                    if idle(panel) {
                    } else if touched[panel].is_empty() {
                        // SAFETY: as above; they lie in different buffers.
                        unsafe { std::ptr::copy_nonoverlapping(from[start..].as_ptr(), to, row * width) };
                    } else {
                        pristine.with_panel(panel, |from| {
                            scratch(Use::Kernel, row * width, |whole| {
                                let whole = whole.as_mut_ptr();
                                // SAFETY: as above; `whole` has room for a panel.
                                unsafe {
                                    this.merge_panel(
                                        panel,
                                        &touched[panel],
                                        changes,
                                        &turned,
                                        from,
                                        whole,
                                        false,
                                    );
                                    narrow(this.isa, whole, row, width, to);
                                }
                            });
                        });
                    }
                });
            }
            _ => unreachable!("the types were compared"),
        }
        self.data = data;
        let changed = touched.iter().map(|touching| !touching.is_empty()).collect();
        self.merged = Some((pristine.version, changed));
        self.version = next_version();
    }

    /// Writes a panel of f32 with its changes.
    ///
    /// # Safety
    /// `to` is valid for the panel, and not part of `from`.
    unsafe fn merge_panel(
        &self,
        panel: usize,
        touched: &[usize],
        changes: &[Change<'_>],
        turned: &[Option<Turned>],
        from: &[f32],
        to: *mut f32,
        stream: bool,
    ) {
        let mut passes = touched.iter().filter_map(|i| Some((&changes[*i], turned[*i].as_ref()?)));
        // SAFETY: both are the panel.
        unsafe {
            if let Some((change, turned)) = passes.next() {
                // Streamed if nothing reads it again soon.
                let once = touched.len() == 1 && stream;
                self.add_low_rank(panel, change, turned, from.as_ptr(), to, once);
            } else {
                std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len());
            }
            for (change, turned) in passes {
                self.add_low_rank(panel, change, turned, to, to, false);
            }
        }
        let row = self.inputs * self.taps;
        for change in touched.iter().map(|i| &changes[*i]) {
            let Delta::Dense { delta, strength } = change.delta else { continue };
            self.each(panel, |at, output, input, tap| {
                if change.outputs().contains(&output) {
                    let by = delta[(output - change.first) * row + input * self.taps + tap];
                    // SAFETY: within the panel.
                    unsafe { *to.add(at) += by * strength };
                }
            });
        }
    }

    /// Which changes touch a panel.
    fn touching(&self, panel: usize, changes: &[Change<'_>]) -> Vec<usize> {
        let (_, width) = self.panel(panel);
        let touches = |change: &Change<'_>| {
            (0..width).any(|column| self.output(panel, column).is_some_and(|o| change.outputs().contains(&o)))
        };
        (0..changes.len()).filter(|i| touches(&changes[*i])).collect()
    }

    /// Adds a change of low rank to a panel, up to 16 of the rank at a time.
    ///
    /// # Safety
    /// `from` and `to` are the panel; they may be the same.
    unsafe fn add_low_rank(
        &self,
        panel: usize,
        change: &Change<'_>,
        turned: &Turned,
        from: *const f32,
        to: *mut f32,
        alone: bool,
    ) {
        let Delta::LowRank { up, rank, strength, .. } = change.delta else { return };
        let (_, width) = self.panel(panel);
        let rows = self.inputs * self.taps;
        scratch(Use::Task, turned.rank * width, |ups| {
            ups.fill(0.0);
            for column in 0..width {
                let Some(output) = self.output(panel, column).filter(|o| change.outputs().contains(o)) else {
                    continue;
                };
                for r in 0..rank {
                    ups[r * width + column] = up[(output - change.first) * rank + r] * strength;
                }
            }
            let most = if self.isa.is_wide() { 16 } else { 8 };
            let mut r = 0;
            while r < turned.rank {
                let step = [16, 8, 4].into_iter().find(|n| *n <= most && *n <= turned.rank - r).unwrap_or(4);
                // Streamed if it is written once and not read again soon.
                let stream = alone && turned.rank == step && rows * width >= 16_384;
                let from = if r == 0 { from } else { to.cast_const() };
                // SAFETY: rows of the panel, `step` of the padded rank, ups of the panel's width.
                unsafe {
                    let (down, up) = (turned.down.as_ptr().add(r), ups.as_ptr().add(r * width));
                    match step {
                        16 => low_rank::<16>(self.isa, from, to, rows, width, down, turned.rank, up, stream),
                        8 => low_rank::<8>(self.isa, from, to, rows, width, down, turned.rank, up, stream),
                        _ => low_rank::<4>(self.isa, from, to, rows, width, down, turned.rank, up, stream),
                    }
                }
                r += step;
            }
        });
    }
}

/// to = from + down · up for one panel, R of the rank; `up` stays in registers.
#[inline(always)]
unsafe fn low_rank_body<S: Simd, const R: usize>(
    from: *const f32,
    to: *mut f32,
    rows: usize,
    width: usize,
    down: *const f32,
    down_stride: usize,
    up: *const f32,
    stream: bool,
) {
    // SAFETY: `rows` rows of `width`; R numbers of each row of `down`; R rows of `up`.
    unsafe {
        for j in (0..width).step_by(S::LANES) {
            let mut ups = [S::zero(); R];
            for r in 0..R {
                ups[r] = S::load(up.add(r * width + j));
            }
            for row in 0..rows {
                let mut v = S::load(from.add(row * width + j));
                for r in 0..R {
                    v = S::fma(S::splat(*down.add(row * down_stride + r)), ups[r], v);
                }
                if stream {
                    S::stream(to.add(row * width + j), v);
                } else {
                    S::store(to.add(row * width + j), v);
                }
            }
        }
        if stream {
            S::fence();
        }
    }
}

kernel! { unsafe fn low_rank[const R: usize](from: *const f32, to: *mut f32, rows: usize, width: usize, down: *const f32, down_stride: usize,
up: *const f32, stream: bool) => low_rank_body }
