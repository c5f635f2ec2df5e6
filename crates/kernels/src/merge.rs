//! Adapters merged into packed weights, always from pristine ones.

use std::ops::Range;

use half::bf16;
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

/// Rows of a panel that get all changes before the next ones do.
const BLOCK: usize = 64;

/// How many rows before its use a row is fetched.
const AHEAD: usize = 32;

/// Some of a change's rank, which are added at once.
struct Pass<'a> {
    step: usize,
    /// From its first column on, `stride` numbers a row.
    down: &'a [f32],
    stride: usize,
    /// The first row of its ups.
    up: usize,
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
    /// These weights plus `changes`, in memory of their own.
    pub(crate) fn plus(&self, changes: &[Change<'_>]) -> Self {
        let data = match &self.data {
            Data::F32(data) => Data::F32(Buffer::new(data.len())),
            Data::Bf16(data) => Data::Bf16(Buffer::new(data.len())),
        };
        // With a version of its own, every panel is stale.
        let mut sum = Self { data, version: next_version(), merged: None, ..*self };
        sum.merge(self, changes);
        sum
    }

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
                    } else if let Some((change, turned)) = this.alone(&touched[panel], changes, &turned) {
                        // SAFETY: as above; they lie in different buffers.
                        unsafe { this.add_alone(panel, change, turned, &from[start..][..row * width], to) };
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
        let low_rank: Vec<(&Change<'_>, &Turned)> =
            touched.iter().filter_map(|i| Some((&changes[*i], turned[*i].as_ref()?))).collect();
        let has_rank = low_rank.iter().any(|(_, turned)| turned.rank > 0);
        // SAFETY: both are the panel.
        unsafe {
            if !has_rank {
                std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len());
            } else {
                // Streamed if nothing reads it again soon.
                let once = low_rank.len() == touched.len() && stream && from.len() >= 16_384;
                self.add_low_rank(panel, &low_rank, from, to, once);
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

    /// Adds changes of low rank to a panel, up to 16 of a rank at a time. Some rows get all of them before the next do: they
    /// stay in the cache meanwhile.
    ///
    /// # Safety
    /// `to` is valid for the panel, and not part of `from`.
    unsafe fn add_low_rank(
        &self,
        panel: usize,
        changes: &[(&Change<'_>, &Turned)],
        from: &[f32],
        to: *mut f32,
        stream: bool,
    ) {
        let (_, width) = self.panel(panel);
        let rows = self.inputs * self.taps;
        let most = if self.isa.is_wide() { 16 } else { 8 };
        let rank: usize = changes.iter().map(|(_, turned)| turned.rank).sum();
        scratch(Use::Task, (rank + BLOCK) * width, |space| {
            let (ups, between) = space.split_at_mut(rank * width);
            let (mut passes, mut first) = (Vec::new(), 0);
            for (change, turned) in changes {
                self.put_up(panel, change, &mut ups[first * width..][..turned.rank * width]);
                let mut r = 0;
                while r < turned.rank {
                    let step =
                        [16, 8, 4].into_iter().find(|n| *n <= most && *n <= turned.rank - r).unwrap_or(4);
                    passes.push(Pass { step, down: &turned.down[r..], stride: turned.rank, up: first + r });
                    r += step;
                }
                first += turned.rank;
            }
            for row in (0..rows).step_by(BLOCK) {
                let count = BLOCK.min(rows - row);
                for (i, pass) in passes.iter().enumerate() {
                    let is_last = i + 1 == passes.len();
                    // SAFETY: `count` rows of the panel or of `between`, `step` of the padded rank, ups of the panel's width.
                    unsafe {
                        let from = if i == 0 { from.as_ptr().add(row * width) } else { between.as_ptr() };
                        let to = if is_last { to.add(row * width) } else { between.as_mut_ptr() };
                        let down = pass.down.as_ptr().add(row * pass.stride);
                        let up = ups.as_ptr().add(pass.up * width);
                        let (stride, stream) = (pass.stride, stream && is_last);
                        match pass.step {
                            16 => low_rank::<16>(self.isa, from, to, count, width, down, stride, up, stream),
                            8 => low_rank::<8>(self.isa, from, to, count, width, down, stride, up, stream),
                            _ => low_rank::<4>(self.isa, from, to, count, width, down, stride, up, stream),
                        }
                    }
                }
            }
        });
    }

    /// The only change of a panel, if one pass over its rows adds it.
    fn alone<'c>(
        &self,
        touched: &[usize],
        changes: &'c [Change<'c>],
        turned: &'c [Option<Turned>],
    ) -> Option<(&'c Change<'c>, &'c Turned)> {
        let [only] = touched else { return None };
        let turned = turned[*only].as_ref()?;
        let is_one_pass = matches!(turned.rank, 4 | 8) || turned.rank == 16 && self.isa.is_wide();
        is_one_pass.then_some((&changes[*only], turned))
    }

    /// Adds a change that is [alone](Self::alone) to a panel of bf16, without its numbers as f32 in memory between. Rounds as that does.
    ///
    /// # Safety
    /// `to` is valid for the panel, and not part of `from`.
    unsafe fn add_alone(
        &self,
        panel: usize,
        change: &Change<'_>,
        turned: &Turned,
        from: &[bf16],
        to: *mut bf16,
    ) {
        let (_, width) = self.panel(panel);
        let rows = self.inputs * self.taps;
        let stream = from.len() >= 32_768;
        scratch(Use::Task, turned.rank * width, |up| {
            self.put_up(panel, change, up);
            let (from, down, up) = (from.as_ptr(), turned.down.as_ptr(), up.as_ptr());
            // SAFETY: the panel, its rows of `down`, and ups of its width.
            unsafe {
                match turned.rank {
                    16 => low_rank_pairs::<16>(self.isa, from, to, rows, width, down, up, stream),
                    8 => low_rank_pairs::<8>(self.isa, from, to, rows, width, down, up, stream),
                    _ => low_rank_pairs::<4>(self.isa, from, to, rows, width, down, up, stream),
                }
            }
        });
    }

    /// Writes the columns of a panel that a change has, times its strength, `[rank][width]`; zeros elsewhere.
    fn put_up(&self, panel: usize, change: &Change<'_>, to: &mut [f32]) {
        to.fill(0.0);
        let Delta::LowRank { up, rank, strength, .. } = change.delta else { return };
        let (_, width) = self.panel(panel);
        for column in 0..width {
            let Some(output) = self.output(panel, column).filter(|o| change.outputs().contains(o)) else {
                continue;
            };
            for r in 0..rank {
                to[r * width + column] = up[(output - change.first) * rank + r] * strength;
            }
        }
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
                // The rows are read once, at a distance that the processor does not foresee.
                S::prefetch(from.wrapping_add((row + AHEAD) * width + j));
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

/// As [`low_rank_body`] for pairs of rows of bf16, whole panels at once.
#[inline(always)]
unsafe fn low_rank_pairs_body<S: Simd, const R: usize>(
    from: *const bf16,
    to: *mut bf16,
    rows: usize,
    width: usize,
    down: *const f32,
    up: *const f32,
    stream: bool,
) {
    // SAFETY: an even number of rows of whole vectors; R numbers of each row of `down`; R rows of `up`.
    unsafe {
        for first in (0..rows / 2).step_by(BLOCK) {
            let pairs = first..(first + BLOCK).min(rows / 2);
            for j in (0..width).step_by(S::LANES) {
                let mut ups = [S::zero(); R];
                for r in 0..R {
                    ups[r] = S::load(up.add(r * width + j));
                }
                for pair in pairs.clone() {
                    S::prefetch(from.wrapping_add(2 * ((pair + AHEAD) * width + j)).cast());
                    let both = S::load_pairs(from.add(2 * (pair * width + j)));
                    let (mut low, mut high) = (S::low(both), S::high(both));
                    let down = down.add(2 * pair * R);
                    for r in 0..R {
                        low = S::fma(S::splat(*down.add(r)), ups[r], low);
                        high = S::fma(S::splat(*down.add(R + r)), ups[r], high);
                    }
                    let (to, both) = (to.add(2 * (pair * width + j)), S::join(low, high));
                    if stream {
                        S::stream_pairs(to, both);
                    } else {
                        S::store_pairs(to, both);
                    }
                }
            }
        }
        if stream {
            S::fence();
        }
    }
}

kernel! { unsafe fn low_rank_pairs[const R: usize](from: *const bf16, to: *mut bf16, rows: usize, width: usize, down: *const f32,
up: *const f32, stream: bool) => low_rank_pairs_body }
