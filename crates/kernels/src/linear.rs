//! Products of rows with packed weights.

use crate::epilogue::Epilogue;
use crate::finish::Finish;
use crate::image::{Image, ImageMut};
use crate::isa::Isa;
use crate::merge::Change;
use crate::panels::Panels;
use crate::product::{Line, Rows, product};

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
        let isa = Isa::current();
        Self(Panels::pack(blocks, inputs, 1, false, isa, width(isa)))
    }

    /// Packs the weights of a GEGLU, values first and gates after them: the output has half as many channels.
    ///
    /// # Panics
    /// If they are not whole rows, or their number is odd.
    pub fn gated(weights: &[f32], inputs: usize) -> Self {
        let isa = Isa::current();
        Self(Panels::pack(&[weights], inputs, 1, true, isa, width(isa)))
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

    /// Sets the weights to `pristine` plus `changes`.
    ///
    /// # Panics
    /// If the shapes differ, or a change does not fit.
    pub fn merge(&mut self, pristine: &Self, changes: &[Change<'_>]) {
        self.0.merge(&pristine.0, changes);
    }

    /// The weights as they were given.
    pub fn unpack(&self) -> Vec<f32> {
        self.0.unpack()
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

/// Outputs of a panel.
fn width(isa: Isa) -> usize {
    match isa {
        Isa::Avx512 => 64,
        Isa::Portable | Isa::Avx2 => 16,
    }
}

/// Multiplies every pixel of `x` with the weights.
///
/// # Panics
/// If shapes do not fit each other.
pub fn linear(x: Image<'_>, weights: &PackedLinear, epilogue: &Epilogue<'_>, mut out: ImageMut<'_>) {
    assert_eq!(x.layout().channels, weights.inputs(), "the input has the weights' channels");
    assert_eq!(out.layout().channels, weights.channels(), "the output has the weights' channels");
    assert_eq!(x.layout().pixels(), out.layout().pixels(), "input and output have the same pixels");
    let from = x.layout();
    let finish = Finish::new(&weights.0, epilogue, &mut out);
    let (lines, length) =
        if from.border == 0 { (1, from.pixels()) } else { (from.batch * from.height, from.width) };
    let rows = Rows { x: x.data(), lines, length, step: from.stride };
    let line =
        |line| Line { start: from.offset(line * length), taps: &[0], pixel: line * length, pixel_step: 1 };
    product(&weights.0, &rows, &finish, line);
}
