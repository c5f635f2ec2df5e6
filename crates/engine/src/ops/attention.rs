//! Scaled dot-product attention (Vaswani et al. 2017).

use candle_core::{D, DType, Tensor};

use super::cpu::{self, floats};
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
    #[cfg(feature = "flash-attn")]
    if let Some(y) = super::flash::attention(q, k, v, heads, mask)? {
        return Ok(y);
    }
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

/// Over the last axis.
fn softmax(x: &Tensor) -> Result<Tensor> {
    let Some(values) = floats(x) else { return composed_softmax(x) };
    let y = cpu::softmax_rows(&values, x.dim(D::Minus1)?, 1.0);
    Ok(Tensor::from_vec(y, x.shape(), x.device())?)
}

/// Composed, because candle's fused one has no gradient.
fn composed_softmax(x: &Tensor) -> Result<Tensor> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tests::{assert_equal, random};

    #[test]
    fn the_fast_softmax_equals_the_composed_one() {
        for width in [1, 3, 8, 77, 300] {
            let x = (random(&[3, 2, width], width) * 20.0).unwrap();
            assert_equal(&softmax(&x).unwrap(), &composed_softmax(&x).unwrap());
        }
    }

    #[test]
    fn a_causal_mask_hides_what_comes_later() {
        let (q, k, v) = (random(&[1, 4, 6], 1), random(&[1, 4, 6], 2), random(&[1, 4, 6], 3));
        let all = attention(&q, &k, &v, 2, Mask::Causal).unwrap();
        for n in 1..4 {
            let first = |x: &Tensor| x.narrow(1, 0, n).unwrap();
            let part = attention(&first(&q), &first(&k), &first(&v), 2, Mask::Causal).unwrap();
            assert_equal(&part, &first(&all));
        }
    }
}
