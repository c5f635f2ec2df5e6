//! What a way to compute a plan's operations consists of.

use std::ops::Range;

use adire_kernels::{self as kernels, Affine, AnyImage, AnyImageMut, Epilogue, Image, Sampling};

use super::op::MatrixSpec;
use crate::{
    Result,
    ops::{Activation, PackedMatrix},
    weight::LowRank,
};

/// What computes a plan's operations.
pub(crate) trait Arithmetic: Copy + std::fmt::Debug + Send + Sync + 'static {
    /// A matrix as this arithmetic wants it.
    type Matrix: std::fmt::Debug + Send + Sync;

    /// From the parts, one below the other, each [outputs, inputs] or [outputs, inputs, 3, 3].
    fn pack(&self, spec: &MatrixSpec, parts: &[&[f32]]) -> Self::Matrix;
    /// The rows of some outputs of what [`Self::pack`] was given, its parts one below the other.
    fn unpack(&self, spec: &MatrixSpec, matrix: &Self::Matrix, outputs: Range<usize>) -> Vec<f32>;
    /// The matrix as layers multiply with it, if that is how it lies.
    fn packed(_matrix: &Self::Matrix) -> Option<&PackedMatrix> {
        None
    }
    /// `base` with changes of some of its rows, in the memory of `before` if there is some; `None` where this arithmetic
    /// has no way of its own.
    fn merge(
        &self,
        _base: &Self::Matrix,
        _before: Option<Self::Matrix>,
        _changes: &[(Range<usize>, &LowRank)],
    ) -> Result<Option<Self::Matrix>> {
        Ok(None)
    }
    /// In groups of channels of each image; the result's border becomes zero.
    fn group_norm(
        &self,
        x: Image<'_>,
        groups: usize,
        affine: Affine<'_>,
        activation: Option<Activation>,
        y: AnyImageMut<'_>,
    );
    /// Over the channels of each pixel.
    fn layer_norm(&self, x: Image<'_>, affine: Affine<'_>, y: AnyImageMut<'_>);
    /// x·Wᵀ, and what `epilogue` says.
    fn linear(&self, x: AnyImage<'_>, matrix: &Self::Matrix, epilogue: &Epilogue<'_>, y: AnyImageMut<'_>);
    /// A 3×3 convolution of `x`, which has a border, and what `epilogue` says.
    fn conv(
        &self,
        x: AnyImage<'_>,
        matrix: &Self::Matrix,
        sampling: Sampling,
        epilogue: &Epilogue<'_>,
        y: AnyImageMut<'_>,
    );
    /// softmax(q·kᵀ/√d)·v.
    fn attention(&self, qkv: [AnyImage<'_>; 3], heads: usize, causal: bool, y: AnyImageMut<'_>);
}

/// An activation as the kernels name it.
pub(super) fn activation(activation: Option<Activation>) -> kernels::Activation {
    match activation {
        None => kernels::Activation::Identity,
        Some(Activation::Silu) => kernels::Activation::Silu,
        Some(Activation::Gelu) => kernels::Activation::Gelu,
        Some(Activation::QuickGelu) => kernels::Activation::QuickGelu,
    }
}
