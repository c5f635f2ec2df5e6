//! Normalisations. They are computed in f32 whatever the compute dtype is, and rounded once.

use candle_core::{D, DType, Tensor};

use super::{
    Activation,
    cpu::{self, floats},
};
use crate::Result;

/// Group normalisation (Wu & He 2018) of `x` [batch, channels, height, width] with `weight` and `bias`
/// [channels], followed by `activation`.
pub(crate) fn group_norm(
    x: &Tensor,
    groups: usize,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    activation: Option<Activation>,
) -> Result<Tensor> {
    if let (Some(values), Some(weight), Some(bias)) = (floats(x), floats(weight), floats(bias)) {
        let (_, _, height, width) = x.dims4()?;
        let y = cpu::group_norm(&values, height * width, groups, &weight, &bias, eps, activation);
        return Ok(Tensor::from_vec(y, x.shape(), x.device())?);
    }
    composed_group_norm(x, groups, weight, bias, eps, activation)
}

fn composed_group_norm(
    x: &Tensor,
    groups: usize,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    activation: Option<Activation>,
) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    let normed = normalise(&x.reshape((batch, groups, ()))?.to_dtype(DType::F32)?, eps)?
        .reshape((batch, channels, height, width))?;
    let per_channel = |x: &Tensor| x.to_dtype(DType::F32)?.reshape((1, channels, 1, 1));
    let y = normed.broadcast_mul(&per_channel(weight)?)?.broadcast_add(&per_channel(bias)?)?;
    let y = match activation {
        Some(activation) => activation.composed(&y)?,
        None => y,
    };
    Ok(y.to_dtype(x.dtype())?)
}

/// Layer normalisation (Ba et al. 2016) over the last axis of `x`, with `weight` and `bias` of its width.
pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    if let (Some(values), Some(weight), Some(bias)) = (floats(x), floats(weight), floats(bias)) {
        let y = cpu::layer_norm(&values, &weight, &bias, eps);
        return Ok(Tensor::from_vec(y, x.shape(), x.device())?);
    }
    composed_layer_norm(x, weight, bias, eps)
}

fn composed_layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let normed = normalise(&x.to_dtype(DType::F32)?, eps)?;
    let y =
        normed.broadcast_mul(&weight.to_dtype(DType::F32)?)?.broadcast_add(&bias.to_dtype(DType::F32)?)?;
    Ok(y.to_dtype(x.dtype())?)
}

/// (x − mean) / √(variance + ε) over the last axis.
fn normalise(x: &Tensor, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    Ok(centred.broadcast_div(&(variance + eps)?.sqrt()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tests::{assert_equal, random};

    #[test]
    fn the_fast_forms_equal_the_composed_ones() {
        for (i, (batch, channels, size, groups)) in
            [(1, 4, 1, 2), (2, 6, 3, 3), (1, 8, 70, 2), (3, 2, 5, 1)].into_iter().enumerate()
        {
            // A mean far from zero, where a careless variance loses its digits.
            let x = (random(&[batch, channels, size, size + 1], i) + 30.0).unwrap();
            let (weight, bias) = (random(&[channels], 50), random(&[channels], 51));
            for activation in [None, Some(Activation::Silu), Some(Activation::Gelu)] {
                let expected = composed_group_norm(&x, groups, &weight, &bias, 1e-5, activation).unwrap();
                assert_equal(&group_norm(&x, groups, &weight, &bias, 1e-5, activation).unwrap(), &expected);
            }
        }
        for width in [2, 7, 8, 100, 1280] {
            let x = (random(&[2, 5, width], width) - 3.0).unwrap();
            let (weight, bias) = (random(&[width], 60), random(&[width], 61));
            let expected = composed_layer_norm(&x, &weight, &bias, 1e-5).unwrap();
            assert_equal(&layer_norm(&x, &weight, &bias, 1e-5).unwrap(), &expected);
        }
    }
}
