//! Weights in the order in which a kernel reads them.
//!
//! A panel holds `width` outputs: `[panel][tap][input][output of the panel]`. The last is only as wide as whole vectors need, and
//! filled up with zeros. In gated weights the first half of each panel are values, the second their gates.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::buffer::Buffer;
use crate::isa::Isa;
use crate::parallel::{Shared, each};
use crate::simd::{Simd, kernel};

/// Packed weights of a product, with `taps` offsets (1, or the 9 of a 3×3 convolution).
#[derive(Clone, Debug)]
pub(crate) struct Panels {
    pub(crate) data: Buffer,
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
        blocks: &[&[f32]],
        inputs: usize,
        taps: usize,
        gated: bool,
        isa: Isa,
        width: usize,
    ) -> Self {
        let row = inputs * taps;
        assert!(row > 0, "weights have inputs");
        for block in blocks {
            assert_eq!(block.len() % row, 0, "weights of {inputs} inputs and {taps} taps are whole rows");
        }
        let outputs: usize = blocks.iter().map(|block| block.len() / row).sum();
        assert!(outputs > 0, "weights have outputs");
        assert!(!gated || outputs.is_multiple_of(2), "gated weights have as many gates as values");
        let version = next_version();
        let data = Buffer::new(0);
        let mut panels = Self { data, outputs, inputs, taps, width, gated, isa, version, merged: None };
        let rows: Vec<&[f32]> = blocks.iter().flat_map(|block| block.chunks_exact(row)).collect();
        let mut data = Buffer::<f32>::new(panels.columns() * row);
        let to = Shared::new(&mut data);
        let lanes = isa.lanes();
        each(panels.count(), 2 * outputs * row, |panel| {
            let (start, width) = panels.panel(panel);
            for column in (0..width).step_by(lanes) {
                let mut from = [std::ptr::null(); 16];
                for (i, from) in from[..lanes].iter_mut().enumerate() {
                    *from = panels
                        .output(panel, column + i)
                        .map_or(std::ptr::null(), |output| rows[output].as_ptr());
                }
                // SAFETY: rows of the weights, and a vector of each row of this panel, which this task alone writes.
                unsafe { turn(isa, from.as_ptr(), inputs, taps, width, to.get().add(start + column)) };
            }
        });
        panels.data = data;
        panels
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

    /// Calls `f(place, output, input, tap)` for every weight of a panel, a few inputs at a time: both orders stay in the cache.
    pub(crate) fn each(&self, panel: usize, mut f: impl FnMut(usize, usize, usize, usize)) {
        const INPUTS: usize = 16;
        let (start, width) = self.panel(panel);
        for first in (0..self.inputs).step_by(INPUTS) {
            for column in 0..width {
                let Some(output) = self.output(panel, column) else { continue };
                for input in first..(first + INPUTS).min(self.inputs) {
                    for tap in 0..self.taps {
                        f(start + (tap * self.inputs + input) * width + column, output, input, tap);
                    }
                }
            }
        }
    }

    /// The weights as they were given, `[outputs, inputs, taps]`.
    pub(crate) fn unpack(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.outputs * self.inputs * self.taps];
        for panel in 0..self.count() {
            self.each(panel, |at, output, input, tap| {
                out[(output * self.inputs + input) * self.taps + tap] = self.data[at];
            });
        }
        out
    }

    /// Their size in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len() * size_of::<f32>()
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
