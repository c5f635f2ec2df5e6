//! Normalisations. They are computed in f32 whatever the compute dtype is, and rounded once.

use candle_core::{D, DType, Tensor};

use super::{
    Activation,
    cpu::{self, floats},
    gradient::attach,
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
    let frozen = !weight.track_op() && !bias.track_op();
    let (_, _, height, width) = x.dims4()?;
    let plane = height * width;
    let y = match (frozen, floats(x), floats(weight), floats(bias)) {
        (true, Some(values), Some(weight), Some(bias)) => {
            cpu::group_norm(&values, plane, groups, &weight, &bias, eps, activation)
        }
        _ => return composed_group_norm(x, groups, weight, bias, eps, activation),
    };
    let y = Tensor::from_vec(y, x.shape(), x.device())?;
    if !x.track_op() {
        return Ok(y);
    }
    let (saved, weight, bias) = (x.detach(), weight.clone(), bias.clone());
    attach(y, &[x], move |gradient| {
        let gradient = gradient.contiguous()?;
        let parts = (floats(&saved), floats(&gradient), floats(&weight), floats(&bias));
        let (Some(values), Some(found), Some(weight), Some(bias)) = parts else { return Err(moved()) };
        let out = cpu::group_norm_backward(&values, &found, plane, groups, &weight, &bias, eps, activation);
        Ok(vec![Some(Tensor::from_vec(out, saved.shape(), saved.device())?)])
    })
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
    let frozen = !weight.track_op() && !bias.track_op();
    let y = match (frozen, floats(x), floats(weight), floats(bias)) {
        (true, Some(values), Some(weight), Some(bias)) => cpu::layer_norm(&values, &weight, &bias, eps),
        _ => return composed_layer_norm(x, weight, bias, eps),
    };
    let y = Tensor::from_vec(y, x.shape(), x.device())?;
    if !x.track_op() {
        return Ok(y);
    }
    let (saved, weight) = (x.detach(), weight.clone());
    attach(y, &[x], move |gradient| {
        let gradient = gradient.contiguous()?;
        let parts = (floats(&saved), floats(&gradient), floats(&weight));
        let (Some(values), Some(found), Some(weight)) = parts else { return Err(moved()) };
        let out = cpu::layer_norm_backward(&values, &found, &weight, eps);
        Ok(vec![Some(Tensor::from_vec(out, saved.shape(), saved.device())?)])
    })
}

/// Error for a saved tensor that is not f32 on the CPU any more; cannot happen, since nothing moves it.
fn moved() -> candle_core::Error {
    candle_core::Error::Msg("a normalisation's gradient is not f32 on the CPU as its input was".to_owned())
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

    fn gradient(x: &candle_core::Var, y: &Tensor) -> Tensor {
        let loss = (y * random(y.dims(), 70)).unwrap().sum_all().unwrap();
        loss.backward().unwrap().get(x).unwrap().clone()
    }

    #[test]
    fn the_fast_gradients_equal_the_composed_ones() {
        for (i, (batch, channels, size, groups)) in
            [(1, 4, 2, 2), (2, 6, 3, 3), (1, 8, 70, 2), (3, 2, 5, 1)].into_iter().enumerate()
        {
            let x = (random(&[batch, channels, size, size + 1], i) + 1.0).unwrap();
            let x = candle_core::Var::from_tensor(&x).unwrap();
            let (weight, bias) = (random(&[channels], 50), random(&[channels], 51));
            for activation in [None, Some(Activation::Silu), Some(Activation::QuickGelu)] {
                let expected = composed_group_norm(&x, groups, &weight, &bias, 1e-5, activation).unwrap();
                let found = group_norm(&x, groups, &weight, &bias, 1e-5, activation).unwrap();
                assert_equal(&gradient(&x, &found), &gradient(&x, &expected));
            }
        }
        for width in [2, 7, 8, 100, 1280] {
            let x = candle_core::Var::from_tensor(&(random(&[2, 5, width], width) - 1.0).unwrap()).unwrap();
            let (weight, bias) = (random(&[width], 60), random(&[width], 61));
            let expected = composed_layer_norm(&x, &weight, &bias, 1e-3).unwrap();
            let found = layer_norm(&x, &weight, &bias, 1e-3).unwrap();
            assert_equal(&gradient(&x, &found), &gradient(&x, &expected));
        }
    }

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
