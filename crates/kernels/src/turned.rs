//! Packed weights turned round: what the gradient of a product's input is multiplied with.

use half::bf16;

use crate::buffer::Buffer;
use crate::image::{Dtype, Image};
use crate::isa::Isa;
use crate::panels::{Data, Panels, narrow, next_version};
use crate::parallel::{Shared, each};
use crate::simd::{Simd, kernel};

/// Columns of the widest panel.
const MAX_WIDTH: usize = 64;

/// Outputs that lie beside each other in a panel.
struct Run {
    /// The first of them.
    output: usize,
    count: usize,
    /// Where its weights begin, for tap and input 0, and how far it is from one input to the next.
    start: usize,
    stride: usize,
}

impl Panels {
    /// The same weights as `[inputs, outputs, taps]`, the taps in reverse, in panels of `width`; in the memory of `before` if it is
    /// large enough.
    ///
    /// # Panics
    /// If they are of bf16 and their outputs (of gated ones, the pairs) are odd.
    pub(crate) fn turned(&self, width: usize, before: Option<Self>) -> Self {
        let unit = if self.gated { self.outputs / 2 } else { self.outputs };
        assert!(
            self.dtype() == Dtype::F32 || unit.is_multiple_of(2),
            "weights of bf16 that are turned have an even number of outputs"
        );
        let mut turned = Self {
            data: Data::F32(Buffer::new(0)),
            outputs: self.inputs,
            inputs: self.outputs,
            taps: self.taps,
            width,
            gated: false,
            isa: self.isa,
            version: next_version(),
            merged: None,
        };
        let runs = self.runs();
        let (panels, row) = (turned.count(), turned.inputs * turned.taps);
        let work = 2 * row * turned.outputs;
        let last = turned.panel(panels - 1);
        let len = last.0 + last.1 * row;
        let before = before.map(|before| before.data);
        turned.data = match &self.data {
            Data::F32(from) => {
                let mut data = match before {
                    Some(Data::F32(data)) if data.len() >= len => data,
                    _ => Buffer::new(len),
                };
                let to = Shared::new(&mut data);
                each(panels, work, |panel| {
                    turned.each_run(panel, &runs, |run, tap, inputs, at, width| {
                        let from = from[run.start + tap * self.inputs * run.stride..].as_ptr();
                        // SAFETY: the run's weights of these inputs, and its rows of this task's panel.
                        unsafe {
                            let from = from.add(inputs.start * run.stride);
                            let to = to.get().add(at);
                            turn(self.isa, from, run.stride, inputs.len(), run.count, to, width);
                        }
                    });
                });
                Data::F32(data)
            }
            Data::Bf16(from) => {
                let mut data = match before {
                    Some(Data::Bf16(data)) if data.len() >= len => data,
                    _ => Buffer::new(len),
                };
                let to = Shared::new(&mut data);
                each(panels, work, |panel| {
                    turned.each_run(panel, &runs, |run, tap, inputs, at, width| {
                        let from = from[run.start + tap * self.inputs * run.stride..].as_ptr();
                        // SAFETY: as above. Pairs of inputs are whole, as the first input of a panel is even.
                        unsafe {
                            let from = from.add(inputs.start * run.stride);
                            let to = to.get().add(at);
                            turn_pairs(self.isa, from, run.stride, inputs.len(), run.count, to, width);
                        }
                    });
                });
                Data::Bf16(data)
            }
        };
        turned
    }

    /// All outputs, in runs of at most a vector.
    fn runs(&self) -> Vec<Run> {
        let lanes = self.isa.lanes();
        // Of gated weights, values and gates each have their half of a panel.
        let (parts, step) = if self.gated { (2, self.width / 2) } else { (1, self.width) };
        let length = self.outputs / parts;
        let of_part = |part: usize| {
            (0..length).step_by(lanes).map(move |first| {
                let (start, width) = self.panel(first / step);
                let column = part * step + first % step;
                let count = lanes.min(length - first);
                // Of bf16, a column has two numbers in each pair of inputs.
                let start = start + if self.dtype() == Dtype::F32 { column } else { 2 * column };
                Run { output: part * length + first, count, start, stride: width }
            })
        };
        (0..parts).flat_map(of_part).collect()
    }

    /// Calls `f(run, its tap, columns of the panel, where its first row begins, width of the panel)` for all rows of a panel of
    /// turned weights.
    fn each_run(
        &self,
        panel: usize,
        runs: &[Run],
        f: impl Fn(&Run, usize, std::ops::Range<usize>, usize, usize),
    ) {
        let (start, width) = self.panel(panel);
        let first = panel * self.width;
        let columns = first..(first + width).min(self.outputs);
        for tap in 0..self.taps {
            for run in runs {
                let at = start + (tap * self.inputs + run.output) * width;
                f(run, self.taps - 1 - tap, columns.clone(), at, width);
            }
        }
    }
}

impl Panels {
    /// Packs `[inputs, outputs]`, of which a panel's rows are parts, in the memory of `before` if it is large enough.
    ///
    /// # Panics
    /// If there are none, or bf16 is requested and the inputs are odd.
    pub(crate) fn from_columns(
        dtype: Dtype,
        columns: Image<'_>,
        isa: Isa,
        width: usize,
        before: Option<Self>,
    ) -> Self {
        let (inputs, outputs) = (columns.layout().pixels(), columns.layout().channels);
        assert!(inputs > 0 && outputs > 0, "weights have inputs and outputs");
        assert!(
            dtype == Dtype::F32 || inputs.is_multiple_of(2),
            "weights of bf16 have an even number of inputs"
        );
        let (version, data) = (next_version(), Data::F32(Buffer::new(0)));
        let mut packed =
            Self { data, outputs, inputs, taps: 1, width, gated: false, isa, version, merged: None };
        let (panels, work) = (packed.count(), 2 * inputs * outputs);
        let last = packed.panel(panels - 1);
        let len = last.0 + last.1 * inputs;
        let before = before.map(|before| before.data);
        // A panel's columns of one row, with zeros behind the last output.
        let row = |panel: usize, width: usize, input: usize, to: &mut [f32]| {
            let from = &columns.pixel(input)[panel * packed.width..];
            let count = from.len().min(width);
            to[..count].copy_from_slice(&from[..count]);
            to[count..width].fill(0.0);
        };
        packed.data = match dtype {
            Dtype::F32 => {
                let mut data = match before {
                    Some(Data::F32(data)) if data.len() >= len => data,
                    _ => Buffer::new(len),
                };
                let to = Shared::new(&mut data);
                each(panels, work, |panel| {
                    let (start, width) = packed.panel(panel);
                    // SAFETY: this panel, which this task alone writes.
                    let to = unsafe { std::slice::from_raw_parts_mut(to.get().add(start), inputs * width) };
                    for (input, to) in to.chunks_exact_mut(width).enumerate() {
                        row(panel, width, input, to);
                    }
                });
                Data::F32(data)
            }
            Dtype::Bf16 => {
                let mut data = match before {
                    Some(Data::Bf16(data)) if data.len() >= len => data,
                    _ => Buffer::new(len),
                };
                let to = Shared::new(&mut data);
                each(panels, work, |panel| {
                    let (start, width) = packed.panel(panel);
                    let mut pair = [0.0f32; 2 * MAX_WIDTH];
                    for input in (0..inputs).step_by(2) {
                        row(panel, width, input, &mut pair[..width]);
                        row(panel, width, input + 1, &mut pair[width..2 * width]);
                        // SAFETY: two rows of this panel, which this task alone writes.
                        unsafe { narrow(isa, pair.as_ptr(), 2, width, to.get().add(start + input * width)) };
                    }
                });
                Data::Bf16(data)
            }
        };
        packed
    }
}

/// Columns (inputs, `stride` apart) of at most a vector of outputs to rows, `width` apart; rows are filled up with zeros to whole vectors.
#[inline(always)]
unsafe fn turn_body<S: Simd>(
    from: *const f32,
    stride: usize,
    inputs: usize,
    outputs: usize,
    to: *mut f32,
    width: usize,
) {
    let (mut square, mut turned) = ([0.0f32; 256], [0.0f32; 256]);
    // SAFETY: `inputs` rows of a vector; `outputs` rows of `inputs` numbers, rounded up to whole vectors.
    unsafe {
        for first in (0..inputs).step_by(S::LANES) {
            let from = from.add(first * stride);
            let count = (inputs - first).min(S::LANES);
            if count == S::LANES && outputs == S::LANES {
                S::transpose(from, stride, to.add(first), width);
                continue;
            }
            for i in 0..S::LANES {
                let v = if i < count { S::load(from.add(i * stride)) } else { S::zero() };
                S::store(square.as_mut_ptr().add(i * S::LANES), v);
            }
            S::transpose(square.as_ptr(), S::LANES, turned.as_mut_ptr(), S::LANES);
            for k in 0..outputs {
                let v = S::load(turned.as_ptr().add(k * S::LANES));
                S::store(to.add(k * width + first), v);
            }
        }
    }
}

/// The same for numbers that lie in pairs of inputs, to pairs of outputs.
#[inline(always)]
unsafe fn turn_pairs_body<S: Simd>(
    from: *const bf16,
    stride: usize,
    inputs: usize,
    outputs: usize,
    to: *mut bf16,
    width: usize,
) {
    let (mut square, mut turned) = ([0.0f32; 256], [0.0f32; 256]);
    // SAFETY: as above, with an even number of inputs and of outputs.
    unsafe {
        for first in (0..inputs).step_by(S::LANES) {
            let count = (inputs - first).min(S::LANES);
            for i in (0..S::LANES).step_by(2) {
                let (mut low, mut high) = (S::zero(), S::zero());
                if i < count {
                    let pairs = S::load_pairs(from.add((first + i) * stride));
                    (low, high) = (S::low(pairs), S::high(pairs));
                }
                S::store(square.as_mut_ptr().add(i * S::LANES), low);
                S::store(square.as_mut_ptr().add((i + 1) * S::LANES), high);
            }
            S::transpose(square.as_ptr(), S::LANES, turned.as_mut_ptr(), S::LANES);
            for k in (0..outputs).step_by(2) {
                let row = turned.as_ptr().add(k * S::LANES);
                let pairs = S::join(S::load(row), S::load(row.add(S::LANES)));
                S::store_pairs(to.add(k * width + 2 * first), pairs);
            }
        }
    }
}

kernel! { unsafe fn turn(from: *const f32, stride: usize, inputs: usize, outputs: usize, to: *mut f32, width: usize) => turn_body }
kernel! { unsafe fn turn_pairs(from: *const bf16, stride: usize, inputs: usize, outputs: usize, to: *mut bf16, width: usize) => turn_pairs_body }
