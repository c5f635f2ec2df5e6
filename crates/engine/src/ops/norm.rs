//! Normalisations. Statistics are computed in f32 whatever the compute dtype is.

use candle_core::{D, DType, Tensor};

use super::Activation;
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
    let (batch, channels, height, width) = x.dims4()?;
    let dtype = x.dtype();
    let normed = normalise(&x.reshape((batch, groups, ()))?.to_dtype(DType::F32)?, eps)?
        .reshape((batch, channels, height, width))?
        .to_dtype(dtype)?;
    let per_channel = (1, channels, 1, 1);
    let y =
        normed.broadcast_mul(&weight.reshape(per_channel)?)?.broadcast_add(&bias.reshape(per_channel)?)?;
    match activation {
        Some(activation) => activation.apply(&y),
        None => Ok(y),
    }
}

/// Layer normalisation (Ba et al. 2016) over the last axis of `x`, with `weight` and `bias` of its width.
pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let normed = normalise(&x.to_dtype(DType::F32)?, eps)?.to_dtype(x.dtype())?;
    Ok(normed.broadcast_mul(weight)?.broadcast_add(bias)?)
}

/// (x − mean) / √(variance + ε) over the last axis.
fn normalise(x: &Tensor, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    Ok(centred.broadcast_div(&(variance + eps)?.sqrt()?)?)
}
