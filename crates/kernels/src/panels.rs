//! Weights in the order in which a kernel reads them.
//!
//! A panel holds `width` outputs: `[panel][tap][input][output of the panel]`. The last is only as wide as whole vectors need, and
//! filled up with zeros. Weights of bf16 lie in pairs of inputs, `[panel][tap][input / 2][output of the panel][2]`. In gated weights the first half of each panel are values, the second their gates.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use half::bf16;

use crate::buffer::Buffer;
use crate::image::Dtype;
use crate::isa::Isa;
use crate::parallel::{Shared, Use, each, scratch};
use crate::simd::{Simd, kernel};

/// The numbers of packed weights.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    F32(Buffer<f32>),
    Bf16(Buffer<bf16>),
}

/// Packed weights of a product, with `taps` offsets (1, or the 9 of a 3×3 convolution).
#[derive(Clone, Debug)]
pub(crate) struct Panels {
    pub(crate) data: Data,
    /// Rows of the weights.
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    pub(crate) taps: usize,
    /// Outputs of a panel.
    pub(crate) width: usize,
    pub(crate) gated: bool,
    pub(crate) isa: Isa,
    /// Names the contents: clones share it, a merge gives a new one.
    pub(crate) version: u64,
    /// After a merge: the version that it started from, and which panels differ from that.
    pub(crate) merged: Option<(u64, Vec<bool>)>,
}

/// A number that no other contents have.
pub(crate) fn next_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Panels {
    /// Packs blocks of rows, `[rows, inputs, taps]` each, one after the other.
    pub(crate) fn pack(
        dtype: Dtype,
        blocks: &[&[f32]],
        inputs: usize,
        taps: usize,
        gated: bool,
        isa: Isa,
        width: usize,
    ) -> Self {
        assert!(
            dtype == Dtype::F32 || inputs.is_multiple_of(2),
            "weights of bf16 have an even number of inputs"
        );
        let row = inputs * taps;
        assert!(row > 0, "weights have inputs");
        for block in blocks {
            assert_eq!(block.len() % row, 0, "weights of {inputs} inputs and {taps} taps are whole rows");
        }
        let outputs: usize = blocks.iter().map(|block| block.len() / row).sum();
        assert!(outputs > 0, "weights have outputs");
        assert!(!gated || outputs.is_multiple_of(2), "gated weights have as many gates as values");
        let (version, data) = (next_version(), Data::F32(Buffer::new(0)));
        let mut panels = Self { data, outputs, inputs, taps, width, gated, isa, version, merged: None };
        let rows: Vec<&[f32]> = blocks.iter().flat_map(|block| block.chunks_exact(row)).collect();
        let (len, work) = (panels.columns() * row, 2 * outputs * row);
        panels.data = match dtype {
            Dtype::F32 => {
                let mut data = Buffer::<f32>::new(len);
                let to = Shared::new(&mut data);
                each(panels.count(), work, |panel| {
                    // SAFETY: this panel, which this task alone writes.
                    unsafe { panels.turn_panel(panel, &rows, to.get().add(panels.panel(panel).0)) };
                });
                Data::F32(data)
            }
            Dtype::Bf16 => {
                let mut data = Buffer::<bf16>::new(len);
                let to = Shared::new(&mut data);
                each(panels.count(), work, |panel| {
                    let (start, width) = panels.panel(panel);
                    scratch(Use::Panel, row * width, |whole| {
                        // SAFETY: as above; `whole` has room for the panel.
                        unsafe {
                            panels.turn_panel(panel, &rows, whole.as_mut_ptr());
                            narrow(isa, whole.as_ptr(), row, width, to.get().add(start));
                        }
                    });
                });
                Data::Bf16(data)
            }
        };
        panels
    }

    /// Writes a panel of f32.
    ///
    /// # Safety
    /// `to` is valid for it.
    unsafe fn turn_panel(&self, panel: usize, rows: &[&[f32]], to: *mut f32) {
        let (_, width) = self.panel(panel);
        let lanes = self.isa.lanes();
        for column in (0..width).step_by(lanes) {
            let mut from = [std::ptr::null(); 16];
            for (i, from) in from[..lanes].iter_mut().enumerate() {
                *from =
                    self.output(panel, column + i).map_or(std::ptr::null(), |output| rows[output].as_ptr());
            }
            // SAFETY: rows of the weights, and a vector of each row of the panel.
            unsafe { turn(self.isa, from.as_ptr(), self.inputs, self.taps, width, to.add(column)) };
        }
    }

    /// Calls `work` with a panel in f32.
    pub(crate) fn with_panel<R>(&self, panel: usize, work: impl FnOnce(&[f32]) -> R) -> R {
        let (start, width) = self.panel(panel);
        let rows = self.inputs * self.taps;
        match &self.data {
            Data::F32(data) => work(&data[start..][..rows * width]),
            Data::Bf16(data) => scratch(Use::Panel, rows * width, |whole| {
                // SAFETY: the panel, and room for it.
                unsafe {
                    widen(self.isa, data[start..][..rows * width].as_ptr(), rows, width, whole.as_mut_ptr())
                };
                work(whole)
            }),
        }
    }

    /// The type of the numbers.
    pub(crate) fn dtype(&self) -> Dtype {
        match self.data {
            Data::F32(_) => Dtype::F32,
            Data::Bf16(_) => Dtype::Bf16,
        }
    }

    /// Outputs after padding.
    fn columns(&self) -> usize {
        if self.gated {
            (self.outputs / 2).div_ceil(self.width / 2) * self.width
        } else {
            self.outputs.next_multiple_of(self.isa.lanes())
        }
    }

    /// How many panels there are.
    pub(crate) fn count(&self) -> usize {
        self.columns().div_ceil(self.width)
    }

    /// Where a panel begins, and how wide it is.
    pub(crate) fn panel(&self, index: usize) -> (usize, usize) {
        let first = index * self.width;
        (first * self.inputs * self.taps, self.width.min(self.columns() - first))
    }

    /// The output that a column of a panel is for; nothing for padding.
    pub(crate) fn output(&self, panel: usize, column: usize) -> Option<usize> {
        if !self.gated {
            return Some(panel * self.width + column).filter(|output| *output < self.outputs);
        }
        let (half, pairs) = (self.width / 2, self.outputs / 2);
        let value = panel * half + column % half;
        (value < pairs).then_some(if column < half { value } else { pairs + value })
    }

    /// Calls `f(place in the panel, output, input, tap)` for every weight of a panel of f32, a few inputs at a time: both orders stay in the cache.
    pub(crate) fn each(&self, panel: usize, mut f: impl FnMut(usize, usize, usize, usize)) {
        const INPUTS: usize = 16;
        let (_, width) = self.panel(panel);
        for first in (0..self.inputs).step_by(INPUTS) {
            for column in 0..width {
                let Some(output) = self.output(panel, column) else { continue };
                for input in first..(first + INPUTS).min(self.inputs) {
                    for tap in 0..self.taps {
                        f((tap * self.inputs + input) * width + column, output, input, tap);
                    }
                }
            }
        }
    }

    /// The weights of some outputs as they were given, `[outputs, inputs, taps]`.
    pub(crate) fn unpack(&self, outputs: Range<usize>) -> Vec<f32> {
        let row = self.inputs * self.taps;
        let mut out = vec![0.0; outputs.len() * row];
        let holds = |panel: &usize| {
            (0..self.panel(*panel).1)
                .any(|column| self.output(*panel, column).is_some_and(|output| outputs.contains(&output)))
        };
        for panel in (0..self.count()).filter(holds) {
            self.with_panel(panel, |whole| {
                self.each(panel, |at, output, input, tap| {
                    if outputs.contains(&output) {
                        out[(output - outputs.start) * row + input * self.taps + tap] = whole[at];
                    }
                });
            });
        }
        out
    }

    /// Their size in memory.
    pub(crate) fn bytes(&self) -> usize {
        match &self.data {
            Data::F32(data) => size_of_val(&data[..]),
            Data::Bf16(data) => size_of_val(&data[..]),
        }
    }
}

/// Turns the weights of as many outputs as a vector has lanes: rows `[input][tap]` (nothing where there is no output) to a
/// column of a panel, `[tap][input]`.
#[inline(always)]
unsafe fn turn_body<S: Simd>(
    rows: *const *const f32,
    inputs: usize,
    taps: usize,
    width: usize,
    to: *mut f32,
) {
    let total = inputs * taps;
    let (mut square, mut turned) = ([0.0f32; 256], [0.0f32; 256]);
    let (mut input, mut tap) = (0, 0);
    // SAFETY: `LANES` rows of `total`, as many rows of the panel; the squares have `LANES` rows at most.
    unsafe {
        for first in (0..total).step_by(S::LANES) {
            let count = (total - first).min(S::LANES);
            for i in 0..S::LANES {
                let row = *rows.add(i);
                let v = if row.is_null() {
                    S::zero()
                } else if count == S::LANES {
                    S::load(row.add(first))
                } else {
                    S::load_part(row.add(first), count)
                };
                S::store(square.as_mut_ptr().add(i * S::LANES), v);
            }
            S::transpose(square.as_ptr(), S::LANES, turned.as_mut_ptr(), S::LANES);
            for i in 0..count {
                let v = S::load(turned.as_ptr().add(i * S::LANES));
                S::stream(to.add((tap * inputs + input) * width), v);
                tap += 1;
                if tap == taps {
                    (tap, input) = (0, input + 1);
                }
            }
        }
        S::fence();
    }
}

kernel! { unsafe fn turn(rows: *const *const f32, inputs: usize, taps: usize, width: usize, to: *mut f32) => turn_body }

/// Rows of a panel to pairs of rows of bf16.
#[inline(always)]
unsafe fn narrow_body<S: Simd>(from: *const f32, rows: usize, width: usize, to: *mut bf16) {
    // SAFETY: an even number of rows of whole vectors.
    unsafe {
        for pair in 0..rows / 2 {
            for j in (0..width).step_by(S::LANES) {
                let at = from.add(2 * pair * width + j);
                S::store_pairs(to.add(2 * (pair * width + j)), S::join(S::load(at), S::load(at.add(width))));
            }
        }
    }
}

/// Pairs of rows of bf16 to rows.
#[inline(always)]
unsafe fn widen_body<S: Simd>(from: *const bf16, rows: usize, width: usize, to: *mut f32) {
    // SAFETY: an even number of rows of whole vectors.
    unsafe {
        for pair in 0..rows / 2 {
            for j in (0..width).step_by(S::LANES) {
                let v = S::load_pairs(from.add(2 * (pair * width + j)));
                let at = to.add(2 * pair * width + j);
                S::store(at, S::low(v));
                S::store(at.add(width), S::high(v));
            }
        }
    }
}

kernel! { pub(crate) unsafe fn narrow(from: *const f32, rows: usize, width: usize, to: *mut bf16) => narrow_body }
kernel! { unsafe fn widen(from: *const bf16, rows: usize, width: usize, to: *mut f32) => widen_body }
