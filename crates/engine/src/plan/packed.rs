//! A plan's arithmetic by `adire-kernels`.

use adire_kernels::{
    self as kernels, Affine, Algorithm, Attention, Epilogue, Image, ImageMut, PackedConv3x3, PackedLinear,
    Sampling,
};

use super::{op::MatrixSpec, run::Arithmetic};
use crate::ops::Activation;

/// The fastest kernels that this processor has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed;

/// Packed weights.
#[derive(Debug)]
pub(crate) enum Matrix {
    Linear(PackedLinear),
    Conv(PackedConv3x3),
}

fn activation(activation: Option<Activation>) -> kernels::Activation {
    match activation {
        None => kernels::Activation::Identity,
        Some(Activation::Silu) => kernels::Activation::Silu,
        Some(Activation::Gelu) => kernels::Activation::Gelu,
        Some(Activation::QuickGelu) => kernels::Activation::QuickGelu,
    }
}

impl Arithmetic for Packed {
    type Matrix = Matrix;

    fn pack(&self, spec: &MatrixSpec, parts: &[&[f32]]) -> Matrix {
        match (spec.kernel, spec.gated, parts) {
            (1, true, [weights]) => Matrix::Linear(PackedLinear::gated(weights, spec.inputs)),
            (1, ..) => Matrix::Linear(PackedLinear::stack(parts, spec.inputs)),
            (_, _, [weights]) => Matrix::Conv(PackedConv3x3::pack(weights, spec.inputs)),
            _ => Matrix::Conv(PackedConv3x3::pack(&parts.concat(), spec.inputs)),
        }
    }

    fn group_norm(
        &self,
        x: Image<'_>,
        groups: usize,
        affine: Affine<'_>,
        then: Option<Activation>,
        y: ImageMut<'_>,
    ) {
        kernels::group_norm(&[x], groups, affine, activation(then), y);
    }

    fn layer_norm(&self, x: Image<'_>, affine: Affine<'_>, y: ImageMut<'_>) {
        kernels::layer_norm(x, affine, y);
    }

    fn linear(&self, x: Image<'_>, matrix: &Matrix, epilogue: &Epilogue<'_>, y: ImageMut<'_>) {
        if let Matrix::Linear(matrix) = matrix {
            kernels::linear(x, matrix, epilogue, y);
        }
    }

    fn conv(
        &self,
        x: Image<'_>,
        matrix: &Matrix,
        sampling: Sampling,
        epilogue: &Epilogue<'_>,
        y: ImageMut<'_>,
    ) {
        if let Matrix::Conv(matrix) = matrix {
            kernels::conv3x3(x, matrix, sampling, Algorithm::Auto, epilogue, y);
        }
    }

    fn activate(&self, with: Activation, mut y: ImageMut<'_>) {
        let x = y.data_mut().to_vec();
        kernels::activation(Image::new(&x, y.layout()), activation(Some(with)), y);
    }

    fn attention(&self, [q, k, v]: [Image<'_>; 3], heads: usize, causal: bool, y: ImageMut<'_>) {
        let options = if causal { Attention::causal(heads) } else { Attention::full(heads) };
        kernels::attention(q, k, v, options, y);
    }
}
