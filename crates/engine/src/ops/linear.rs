//! x·Wᵀ + b.

use candle_core::{D, Tensor};

use crate::Result;

/// `x` [batch, tokens, in], `weight` [out, in] or a 1×1 convolution's [out, in, 1, 1], `bias` [out]; gives
/// [batch, tokens, out].
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (batch, tokens, _) = x.dims3()?;
    let weight = weight.flatten_from(1)?;
    let y = x.contiguous()?.flatten_to(1)?.matmul(&weight.t()?)?.reshape((batch, tokens, weight.dim(0)?))?;
    Ok(match bias {
        Some(bias) => y.broadcast_add(&bias.reshape((1, 1, bias.dim(D::Minus1)?))?)?,
        None => y,
    })
}
