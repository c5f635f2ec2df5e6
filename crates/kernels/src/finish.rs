//! The epilogue of a product: from sums in scratch memory to the output.

use half::bf16;

use crate::epilogue::Epilogue;
use crate::image::{AnyImageMut, Image, Layout};
use crate::lines::clear_around;
use crate::math::{IDENTITY, activate, by_activation, gelu};
use crate::panels::Panels;
use crate::parallel::{Shared, each};
use crate::simd::{Element, Simd, kernel};

/// Widest panel.
pub(crate) const WIDEST: usize = 64;

/// Where the results of a product go.
pub(crate) struct Finish<'a> {
    weights: &'a Panels,
    epilogue: Epilogue<'a>,
    layout: Layout,
    out: Out,
    /// Whether values are multiplied with their gates.
    gated: bool,
}

/// The memory of the output.
#[derive(Clone, Copy)]
enum Out {
    F32(Shared<f32>),
    Bf16(Shared<bf16>),
}

/// Where one output pixel lies.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place {
    pub(crate) image: usize,
    out: usize,
    residual: usize,
}

/// What is added to the sums of a panel.
pub(crate) struct Shift([f32; WIDEST]);

impl<'a> Finish<'a> {
    pub(crate) fn new(weights: &'a Panels, epilogue: &Epilogue<'a>, out: &'a mut AnyImageMut<'_>) -> Self {
        let layout = out.layout();
        epilogue.check(&layout, weights.outputs);
        let out = match out {
            AnyImageMut::F32(out) => Out::F32(Shared::new(out.data_mut())),
            AnyImageMut::Bf16(out) => Out::Bf16(Shared::new(out.data_mut())),
        };
        Self { weights, epilogue: *epilogue, layout, out, gated: weights.gated }
    }

    /// Values and gates as they are, one after the other.
    pub(crate) fn ungated(self) -> Self {
        Self { gated: false, ..self }
    }

    /// Pixels of the output.
    pub(crate) fn pixels(&self) -> usize {
        self.layout.pixels()
    }

    pub(crate) fn place(&self, pixel: usize) -> Place {
        Place {
            image: pixel / (self.layout.height * self.layout.width),
            out: self.layout.offset(pixel),
            residual: self.epilogue.residual.map_or(0, |residual| residual.layout().offset(pixel)),
        }
    }

    /// Writes zeros into the border of the output.
    pub(crate) fn clear_border(&self) {
        let layout = &self.layout;
        if layout.border == 1 {
            each(layout.batch * layout.height, 8 * layout.batch * layout.row_stride(), |line| {
                let line = line * layout.width..(line + 1) * layout.width;
                // SAFETY: each line has its own part of the border.
                unsafe {
                    match self.out {
                        Out::F32(out) => clear_around(layout, out, &line),
                        Out::Bf16(out) => clear_around(layout, out, &line),
                    }
                }
            });
        }
    }

    /// Bias and the image's row for the columns of a panel.
    pub(crate) fn shift(&self, panel: usize, image: usize) -> Shift {
        let mut shift = Shift([0.0; WIDEST]);
        let row = self.epilogue.per_image.as_ref().map(|rows: &Image<'_>| rows.pixel(image));
        let (_, width) = self.weights.panel(panel);
        for (column, to) in shift.0[..width].iter_mut().enumerate() {
            if let Some(output) = self.weights.output(panel, column) {
                *to =
                    self.epilogue.bias.map_or(0.0, |bias| bias[output]) + row.map_or(0.0, |row| row[output]);
            }
        }
        shift
    }

    /// Finishes rows of sums of a panel, `stride` apart, that belong to `places`.
    ///
    /// # Safety
    /// `sums` is valid for those rows, and no other thread writes this panel of these pixels.
    pub(crate) unsafe fn rows(&self, panel: usize, sums: *const f32, stride: usize, places: &[Place]) {
        let mut row = 0;
        for places in places.chunk_by(|a, b| a.image == b.image || self.epilogue.per_image.is_none()) {
            let shift = self.shift(panel, places[0].image);
            // SAFETY: the caller's.
            unsafe { self.rows_of_image(panel, sums.add(row * stride), stride, places, &shift) };
            row += places.len();
        }
    }

    /// The same for rows of one image.
    ///
    /// # Safety
    /// As [`rows`](Self::rows).
    pub(crate) unsafe fn rows_of_image(
        &self,
        panel: usize,
        sums: *const f32,
        stride: usize,
        places: &[Place],
        shift: &Shift,
    ) {
        let weights = self.weights;
        let (_, width) = weights.panel(panel);
        let step = if weights.gated { weights.width / 2 } else { weights.width };
        let first = panel * step;
        if weights.gated && !self.gated {
            let pairs = weights.outputs / 2;
            let columns = (pairs - first).min(step);
            // SAFETY: the caller's; the gates are the second half of each row of sums.
            unsafe {
                let (gates, shift_of_gates) = (sums.add(step), shift.0.as_ptr().add(step));
                self.columns(sums, stride, places, shift.0.as_ptr(), first, columns, step);
                self.columns(gates, stride, places, shift_of_gates, pairs + first, columns, step);
            }
            return;
        }
        let columns = (self.layout.channels - first).min(step).min(width);
        // SAFETY: the caller's.
        unsafe { self.columns(sums, stride, places, shift.0.as_ptr(), first, columns, step) }
    }

    /// Some columns, the first of which is channel `first` of the output.
    ///
    /// # Safety
    /// As [`rows`](Self::rows).
    unsafe fn columns(
        &self,
        sums: *const f32,
        stride: usize,
        places: &[Place],
        shift: *const f32,
        first: usize,
        columns: usize,
        step: usize,
    ) {
        // SAFETY: the panel's first channel lies within the layout, which the view has checked.
        let residual =
            self.epilogue.residual.map_or(std::ptr::null(), |r| unsafe { r.data().as_ptr().add(first) });
        // SAFETY: the caller's; the output's first channel as the residual's.
        unsafe {
            match self.out {
                Out::F32(out) => {
                    self.finish(sums, stride, places, shift, columns, step, out.get().add(first), residual)
                }
                Out::Bf16(out) => {
                    self.finish(sums, stride, places, shift, columns, step, out.get().add(first), residual)
                }
            }
        }
    }

    /// # Safety
    /// As [`rows`](Self::rows); `out` and `residual` begin at the panel's first channel.
    unsafe fn finish<O: Element>(
        &self,
        sums: *const f32,
        stride: usize,
        places: &[Place],
        shift: *const f32,
        columns: usize,
        step: usize,
        out: *mut O,
        residual: *const f32,
    ) {
        let (isa, accumulate) = (self.weights.isa, self.epilogue.accumulate);
        if self.gated {
            // SAFETY: the caller's.
            unsafe {
                finish::<O, IDENTITY, true>(
                    isa, sums, stride, places, shift, columns, step, out, residual, accumulate,
                )
            }
        } else {
            by_activation!(self.epilogue.activation, ACT => {
                // SAFETY: the caller's.
                unsafe {
                    finish::<O, ACT, false>(isa, sums, stride, places, shift, columns, step, out, residual, accumulate)
                }
            });
        }
    }
}

#[inline(always)]
unsafe fn finish_body<S: Simd, O: Element, const ACT: u8, const GATED: bool>(
    sums: *const f32,
    stride: usize,
    places: &[Place],
    shift: *const f32,
    columns: usize,
    half: usize,
    out: *mut O,
    residual: *const f32,
    accumulate: bool,
) {
    // SAFETY: the caller's pointers are valid for the columns; scratch and shift for whole vectors.
    unsafe {
        for (row, place) in places.iter().enumerate() {
            let (sums, out) = (sums.add(row * stride), out.add(place.out));
            let mut j = 0;
            while j < columns {
                let mut v = S::add(S::load(sums.add(j)), S::load(shift.add(j)));
                v = if GATED {
                    let gate = S::add(S::load(sums.add(half + j)), S::load(shift.add(half + j)));
                    S::mul(v, gelu::<S>(gate))
                } else {
                    activate::<S, ACT>(v)
                };
                let lanes = (columns - j).min(S::LANES);
                if lanes == S::LANES {
                    if !residual.is_null() {
                        v = S::add(v, S::load(residual.add(place.residual + j)));
                    }
                    if accumulate {
                        v = S::add(v, O::load::<S>(out.add(j)));
                    }
                    O::store::<S>(out.add(j), v);
                } else {
                    if !residual.is_null() {
                        v = S::add(v, S::load_part(residual.add(place.residual + j), lanes));
                    }
                    if accumulate {
                        v = S::add(v, O::load_part::<S>(out.add(j), lanes));
                    }
                    O::store_part::<S>(out.add(j), v, lanes);
                }
                j += S::LANES;
            }
        }
    }
}

kernel! {
    unsafe fn finish{O}[const ACT: u8, const GATED: bool](sums: *const f32, stride: usize, places: &[Place], shift: *const f32,
        columns: usize, half: usize, out: *mut O, residual: *const f32, accumulate: bool) => finish_body
}
