//! Weights in the order in which a kernel reads them.
//!
//! A panel holds `width` outputs: `[panel][tap][input][output of the panel]`. The last is only as wide as whole vectors need, and
//! filled up with zeros. In gated weights the first half of each panel are values, the second their gates.

use crate::buffer::Buffer;
use crate::isa::Isa;

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
}

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
        let mut panels = Self { data: Buffer::new(0), outputs, inputs, taps, width, gated, isa };
        panels.data = Buffer::new(panels.columns() * row);
        let rows: Vec<&[f32]> = blocks.iter().flat_map(|block| block.chunks_exact(row)).collect();
        let mut data = std::mem::replace(&mut panels.data, Buffer::new(0));
        panels.each(|at, output, input, tap| data[at] = rows[output][input * taps + tap]);
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

    /// Calls `f(place, output, input, tap)` for every weight.
    fn each(&self, mut f: impl FnMut(usize, usize, usize, usize)) {
        for panel in 0..self.count() {
            let (start, width) = self.panel(panel);
            for column in 0..width {
                let Some(output) = self.output(panel, column) else { continue };
                for tap in 0..self.taps {
                    for input in 0..self.inputs {
                        f(start + (tap * self.inputs + input) * width + column, output, input, tap);
                    }
                }
            }
        }
    }

    /// The weights as they were given, `[outputs, inputs, taps]`.
    pub(crate) fn unpack(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.outputs * self.inputs * self.taps];
        self.each(|at, output, input, tap| {
            out[(output * self.inputs + input) * self.taps + tap] = self.data[at]
        });
        out
    }

    /// Sets the weights to `pristine` plus `changes`.
    pub(crate) fn merge(&mut self, pristine: &Self, changes: &[Change<'_>]) {
        assert!(
            (self.outputs, self.inputs, self.taps, self.width, self.gated)
                == (pristine.outputs, pristine.inputs, pristine.taps, pristine.width, pristine.gated),
            "merged weights have the pristine ones' shape"
        );
        let row = self.inputs * self.taps;
        for change in changes {
            assert!(change.first + change.outputs <= self.outputs, "a change lies within the outputs");
            match change.delta {
                Delta::LowRank { up, down, rank, .. } => {
                    assert_eq!(up.len(), change.outputs * rank, "up is [outputs, rank]");
                    assert_eq!(down.len(), rank * row, "down is [rank, inputs]");
                }
                Delta::Dense { delta, .. } => {
                    assert_eq!(delta.len(), change.outputs * row, "a dense change has the weights' shape")
                }
            }
        }
        let (inputs, taps) = (self.inputs, self.taps);
        let mut data = std::mem::replace(&mut self.data, Buffer::new(0));
        data.copy_from_slice(&pristine.data);
        self.each(|at, output, input, tap| {
            for change in changes {
                let Some(output) = output.checked_sub(change.first).filter(|o| *o < change.outputs) else {
                    continue;
                };
                let k = input * taps + tap;
                data[at] += match change.delta {
                    Delta::LowRank { up, down, rank, strength } => {
                        (0..rank).map(|r| up[output * rank + r] * down[r * inputs * taps + k]).sum::<f32>()
                            * strength
                    }
                    Delta::Dense { delta, strength } => delta[output * inputs * taps + k] * strength,
                };
            }
        });
        self.data = data;
    }

    /// Their size in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len() * size_of::<f32>()
    }
}
