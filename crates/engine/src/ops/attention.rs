//! Scaled dot-product attention (Vaswani et al. 2017).

use candle_core::{D, DType, Tensor};

use crate::Result;

/// Most scores (batch × heads × queries × keys) that are held at once; above it, queries are taken in slices.
/// 2²⁴ f32 scores are 64 MiB.
const MAX_SCORES: usize = 1 << 24;

/// Which keys a query may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mask {
    /// All.
    None,
    /// Those at its own position and before.
    Causal,
}

/// softmax(q·kᵀ/√d)·v for `q` [batch, queries, heads·d], `k` and `v` [batch, keys, heads·d]; gives q's shape.
pub(crate) fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, mask: Mask) -> Result<Tensor> {
    let (batch, queries, width) = q.dims3()?;
    let (_, keys, _) = k.dims3()?;
    let depth = width / heads;
    let split = |x: &Tensor, n: usize| x.reshape((batch, n, heads, depth))?.transpose(1, 2)?.contiguous();
    let (q, k, v) = (split(q, queries)?, split(k, keys)?, split(v, keys)?);
    let q = (q * (1.0 / (depth as f64).sqrt()))?;
    let k = k.transpose(2, 3)?;
    let slice = (MAX_SCORES / (batch * heads * keys)).clamp(1, queries);
    let mut parts = Vec::with_capacity(queries.div_ceil(slice));
    for start in (0..queries).step_by(slice) {
        let rows = slice.min(queries - start);
        let mut scores = q.narrow(2, start, rows)?.contiguous()?.matmul(&k)?.to_dtype(DType::F32)?;
        if mask == Mask::Causal {
            scores = scores.broadcast_add(&causal_bias(start, rows, keys, q.device())?)?;
        }
        parts.push(softmax(&scores)?.to_dtype(v.dtype())?.matmul(&v)?);
    }
    let y = if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 2)? };
    Ok(y.transpose(1, 2)?.reshape((batch, queries, width))?)
}

/// Over the last axis; composed, because candle's fused one has no gradient.
fn softmax(x: &Tensor) -> Result<Tensor> {
    let exp = x.broadcast_sub(&x.max_keepdim(D::Minus1)?)?.exp()?;
    Ok(exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)?)
}

/// 0 where a query may look, −∞ after its own position.
fn causal_bias(start: usize, rows: usize, keys: usize, device: &candle_core::Device) -> Result<Tensor> {
    let bias: Vec<f32> = (0..rows)
        .flat_map(|row| (0..keys).map(move |key| if key > start + row { f32::NEG_INFINITY } else { 0.0 }))
        .collect();
    Ok(Tensor::from_vec(bias, (rows, keys), device)?)
}
