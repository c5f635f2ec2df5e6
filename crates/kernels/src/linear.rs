//! Products of rows with packed weights.

use std::ops::Range;

use crate::epilogue::Epilogue;
use crate::finish::Finish;
use crate::image::{AnyImage, AnyImageMut, Dtype, Image};
use crate::isa::Isa;
use crate::merge::Change;
use crate::panels::Panels;
use crate::product::{Line, Rows, product};
use crate::tile::Operand;

/// Packed weights `[outputs, inputs]` of a linear layer or a 1×1 convolution.
#[derive(Clone, Debug)]
pub struct PackedLinear(pub(crate) Panels);

impl PackedLinear {
    /// Packs `weights`, `[outputs, inputs]`.
    ///
    /// # Panics
    /// If they are not whole rows.
    pub fn pack(weights: &[f32], inputs: usize) -> Self {
        Self::stack(&[weights], inputs)
    }

    /// Packs blocks of rows one after the other, such as Q, K and V.
    ///
    /// # Panics
    /// If one of them is not whole rows.
    pub fn stack(blocks: &[&[f32]], inputs: usize) -> Self {
        Self::stack_as(Dtype::F32, blocks, inputs)
    }

    /// Packs the weights of a GEGLU, values first and gates after them: the output has half as many channels.
    ///
    /// # Panics
    /// If they are not whole rows, or their number is odd.
    pub fn gated(weights: &[f32], inputs: usize) -> Self {
        Self::gated_as(Dtype::F32, weights, inputs)
    }

    /// As [`stack`](Self::stack), rounded to a type.
    ///
    /// # Panics
    /// If a block is not whole rows, or bf16 is requested and the inputs are odd.
    pub fn stack_as(dtype: Dtype, blocks: &[&[f32]], inputs: usize) -> Self {
        let isa = Isa::current();
        Self(Panels::pack(dtype, blocks, inputs, 1, false, isa, width(isa)))
    }

    /// As [`gated`](Self::gated), rounded to a type.
    ///
    /// # Panics
    /// If they are not whole rows, their number is odd, or bf16 is requested and the inputs are odd.
    pub fn gated_as(dtype: Dtype, weights: &[f32], inputs: usize) -> Self {
        let isa = Isa::current();
        Self(Panels::pack(dtype, &[weights], inputs, 1, true, isa, width(isa)))
    }

    /// Packs weights that lie the other way round, `[inputs, outputs]`: pixels are inputs, channels outputs. Rounded to a type; in the memory of `before`
    /// if it is large enough.
    ///
    /// # Panics
    /// If there are none, or bf16 is requested and the inputs are odd.
    pub fn from_columns(dtype: Dtype, columns: Image<'_>, before: Option<Self>) -> Self {
        let isa = Isa::current();
        Self(Panels::from_columns(dtype, columns, isa, width(isa), before.map(|before| before.0)))
    }

    /// The type of the packed numbers.
    pub fn dtype(&self) -> Dtype {
        self.0.dtype()
    }

    /// Rows of the weights.
    pub fn outputs(&self) -> usize {
        self.0.outputs
    }

    /// Channels of the input.
    pub fn inputs(&self) -> usize {
        self.0.inputs
    }

    /// Channels of the output: half as many as [`outputs`](Self::outputs) if gated.
    pub fn channels(&self) -> usize {
        if self.0.gated { self.0.outputs / 2 } else { self.0.outputs }
    }

    /// These weights plus `changes`, in memory of their own.
    ///
    /// # Panics
    /// If a change does not fit.
    pub fn plus(&self, changes: &[Change<'_>]) -> Self {
        Self(self.0.plus(changes))
    }

    /// Sets the weights to `pristine` plus `changes`.
    ///
    /// # Panics
    /// If the shapes differ, or a change does not fit.
    pub fn merge(&mut self, pristine: &Self, changes: &[Change<'_>]) {
        self.0.merge(&pristine.0, changes);
    }

    /// The weights as `[inputs, outputs]`, not gated: what the gradient of the output ([`linear_ungated`]) is multiplied with for
    /// that of the input. In the memory of `before` if it is large enough.
    ///
    /// # Panics
    /// If they are of bf16 and the outputs (of gated ones, half of them) are odd.
    pub fn turned(&self, before: Option<Self>) -> Self {
        Self(self.0.turned(width(self.0.isa), before.map(|before| before.0)))
    }

    /// The weights as they were given.
    pub fn unpack(&self) -> Vec<f32> {
        self.0.unpack(0..self.0.outputs)
    }

    /// The weights of some outputs as they were given.
    pub fn unpack_outputs(&self, outputs: Range<usize>) -> Vec<f32> {
        self.0.unpack(outputs)
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

/// Outputs of a panel.
fn width(isa: Isa) -> usize {
    if isa.is_wide() { 64 } else { 16 }
}

/// Multiplies every pixel of `x` with the weights. Images of bf16 are multiplied with weights of bf16, summed in f32.
/// Writes zeros into the border of `out` if it has one.
///
/// # Panics
/// If shapes do not fit each other, or `x` and the weights are of different types.
pub fn linear<'a>(
    x: impl Into<AnyImage<'a>>,
    weights: &PackedLinear,
    epilogue: &Epilogue<'_>,
    out: impl Into<AnyImageMut<'a>>,
) {
    let (x, mut out) = (x.into(), out.into());
    assert_eq!(out.layout().channels, weights.channels(), "the output has the weights' channels");
    let finish = Finish::new(&weights.0, epilogue, &mut out);
    finish_linear(x, weights, &finish);
}

/// The same, where gated weights give values and gates as they are, one after the other.
///
/// # Panics
/// As [`linear`], but the output has as many channels as the weights have rows.
pub fn linear_ungated<'a>(
    x: impl Into<AnyImage<'a>>,
    weights: &PackedLinear,
    epilogue: &Epilogue<'_>,
    out: impl Into<AnyImageMut<'a>>,
) {
    let (x, mut out) = (x.into(), out.into());
    assert_eq!(out.layout().channels, weights.outputs(), "the output has the weights' rows");
    let finish = Finish::new(&weights.0, epilogue, &mut out).ungated();
    finish_linear(x, weights, &finish);
}

fn finish_linear(x: AnyImage<'_>, weights: &PackedLinear, finish: &Finish<'_>) {
    assert_eq!(x.layout().channels, weights.inputs(), "the input has the weights' channels");
    assert_eq!(x.layout().pixels(), finish.pixels(), "input and output have the same pixels");
    finish.clear_border();
    match x {
        AnyImage::F32(x) => multiply(x, &weights.0, finish),
        AnyImage::Bf16(x) => multiply(x, &weights.0, finish),
    }
}

fn multiply<T: Operand>(x: Image<'_, T>, weights: &Panels, finish: &Finish<'_>) {
    let from = x.layout();
    let (lines, length) =
        if from.border == 0 { (1, from.pixels()) } else { (from.batch * from.height, from.width) };
    let rows = Rows { x: x.data(), lines, length, step: from.stride };
    let line =
        |line| Line { start: from.offset(line * length), taps: &[0], pixel: line * length, pixel_step: 1 };
    product(weights, &rows, finish, line);
}
