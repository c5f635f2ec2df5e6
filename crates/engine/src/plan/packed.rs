//! A plan's arithmetic by `adire-kernels`.

use std::ops::Range;

use adire_kernels::{
    self as kernels, Affine, Algorithm, AnyImage, AnyImageMut, Attention, Change, Delta, Epilogue, Image,
    PackedConv3x3, PackedLinear, Sampling,
};
use candle_core::Tensor;

use super::{
    arithmetic::{Arithmetic, activation as kernel_activation},
    op::MatrixSpec,
};
use crate::{
    Result,
    ops::{Activation, PackedMatrix as Matrix, floats},
    weight::LowRank,
};

/// The fastest kernels that this processor has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed;

impl Arithmetic for Packed {
    type Matrix = Matrix;

    fn pack(&self, spec: &MatrixSpec, parts: &[&[f32]]) -> Matrix {
        match (spec.kernel, spec.gated, parts) {
            (1, true, [weights]) => Matrix::Linear(PackedLinear::gated_as(spec.dtype, weights, spec.inputs)),
            (1, ..) => Matrix::Linear(PackedLinear::stack_as(spec.dtype, parts, spec.inputs)),
            (_, _, [weights]) => Matrix::Conv(PackedConv3x3::pack_as(spec.dtype, weights, spec.inputs)),
            _ => Matrix::Conv(PackedConv3x3::pack_as(spec.dtype, &parts.concat(), spec.inputs)),
        }
    }

    fn packed(matrix: &Matrix) -> Option<&Matrix> {
        Some(matrix)
    }

    fn unpack(&self, _spec: &MatrixSpec, matrix: &Matrix, outputs: Range<usize>) -> Vec<f32> {
        match matrix {
            Matrix::Linear(matrix) => matrix.unpack_outputs(outputs),
            Matrix::Conv(matrix) => matrix.unpack_outputs(outputs),
        }
    }

    fn merge(
        &self,
        base: &Matrix,
        before: Option<Matrix>,
        changes: &[(Range<usize>, &LowRank)],
    ) -> Result<Option<Matrix>> {
        let factors: Vec<(Tensor, Tensor)> =
            changes.iter().map(|(_, change)| change.factors()).collect::<Result<_>>()?;
        let held: Vec<_> =
            factors.iter().filter_map(|(up, down)| Some((floats(up)?, floats(down)?))).collect();
        if held.len() != changes.len() {
            return Ok(None);
        }
        let changes: Vec<Change<'_>> = changes
            .iter()
            .zip(&held)
            .map(|((rows, change), (up, down))| Change {
                first: rows.start,
                outputs: rows.len(),
                delta: Delta::LowRank {
                    up,
                    down,
                    rank: up.len() / rows.len().max(1),
                    strength: change.scale as f32,
                },
            })
            .collect();
        Ok(match (before, base) {
            (None, Matrix::Linear(base)) => Some(Matrix::Linear(base.plus(&changes))),
            (None, Matrix::Conv(base)) => Some(Matrix::Conv(base.plus(&changes))),
            (Some(Matrix::Linear(mut before)), Matrix::Linear(base)) => {
                before.merge(base, &changes);
                Some(Matrix::Linear(before))
            }
            (Some(Matrix::Conv(mut before)), Matrix::Conv(base)) => {
                before.merge(base, &changes);
                Some(Matrix::Conv(before))
            }
            _ => None,
        })
    }

    fn group_norm(
        &self,
        x: Image<'_>,
        groups: usize,
        affine: Affine<'_>,
        then: Option<Activation>,
        y: AnyImageMut<'_>,
    ) {
        kernels::group_norm(&[x], groups, affine, kernel_activation(then), y);
    }

    fn layer_norm(&self, x: Image<'_>, affine: Affine<'_>, y: AnyImageMut<'_>) {
        kernels::layer_norm(x, affine, y);
    }

    fn linear(&self, x: AnyImage<'_>, matrix: &Matrix, epilogue: &Epilogue<'_>, y: AnyImageMut<'_>) {
        if let Matrix::Linear(matrix) = matrix {
            kernels::linear(x, matrix, epilogue, y);
        }
    }

    fn conv(
        &self,
        x: AnyImage<'_>,
        matrix: &Matrix,
        sampling: Sampling,
        epilogue: &Epilogue<'_>,
        y: AnyImageMut<'_>,
    ) {
        if let Matrix::Conv(matrix) = matrix {
            kernels::conv3x3(x, matrix, sampling, Algorithm::Auto, epilogue, y);
        }
    }

    fn attention(&self, [q, k, v]: [AnyImage<'_>; 3], heads: usize, causal: bool, y: AnyImageMut<'_>) {
        let options = if causal { Attention::causal(heads) } else { Attention::full(heads) };
        kernels::attention(q, k, v, options, y);
    }
}
