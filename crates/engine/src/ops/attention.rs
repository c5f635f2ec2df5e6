//! Scaled dot-product attention (Vaswani et al. 2017).

use adire_kernels::{self as kernels, Attention, Image, ImageMut, Layout};
use candle_core::{D, DType, Tensor};

use super::{
    cpu::{self, floats},
    gradient::attach,
    variants::AttentionMask,
};
use crate::Result;

/// Maximum number of scores (batch × heads × queries × keys) in memory; above it, queries are sliced. 2²² f32
/// scores are 16 MiB: a quarter of one head at 512×512 pixels.
const MAX_SCORES: usize = 1 << 22;
/// The same on a GPU, where every slice costs launches: 256 MiB, four slices at 512 × 512 for both halves of guidance.
/// 2²⁸ (one slice) was 1 % faster on an H200 and took 2.4 GB more.
const MAX_SCORES_ON_GPU: usize = 1 << 26;

/// softmax(q·kᵀ/√d)·v for `q` [batch, queries, heads·d], `k` and `v` [batch, keys, heads·d]; returns q's shape.
///
/// Never holds more than `MAX_SCORES` scores (`MAX_SCORES_ON_GPU`), and on the CPU none but in the gradient, which computes them
/// again, slice by slice.
pub(crate) fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    mask: AttentionMask,
) -> Result<Tensor> {
    let (batch, _, width) = q.dims3()?;
    #[cfg(feature = "flash-attn")]
    if ![q, k, v].iter().any(|x| x.track_op())
        && let Some(y) = super::flash::attention(q, k, v, heads, mask)?
    {
        return Ok(y);
    }
    let whole = [q, k, v].map(|x| x.detach().contiguous());
    let [q_whole, k_whole, v_whole] = whole;
    let whole = Whole { q: q_whole?, k: k_whole?, v: v_whole?, heads, mask };
    let y = match whole.fast()? {
        Some(y) => y,
        None => merge(&whole.split()?.forward()?)?,
    };
    if ![q, k, v].iter().any(|x| x.track_op()) {
        return Ok(y);
    }
    attach(y, &[q, k, v], move |gradient| {
        let (_, n, _) = gradient.dims3()?;
        let gradient = gradient.reshape((batch, n, heads, width / heads))?.transpose(1, 2)?.contiguous()?;
        let split_heads = whole.split().map_err(candle_core::Error::wrap)?;
        let (q, k, v) = split_heads.backward(&gradient).map_err(candle_core::Error::wrap)?;
        let merged = |x: Tensor| merge(&x).map(Some).map_err(candle_core::Error::wrap);
        Ok(vec![merged((q * scale(width, heads))?)?, merged(k)?, merged(v)?])
    })
}

/// What scores are multiplied by.
fn scale(width: usize, heads: usize) -> f64 {
    1.0 / ((width / heads) as f64).sqrt()
}

/// Queries, keys and values, [batch, n, heads·d], without a graph.
struct Whole {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: usize,
    mask: AttentionMask,
}

impl Whole {
    /// The result without a matrix of scores; `None` but for f32 on the CPU.
    fn fast(&self) -> Result<Option<Tensor>> {
        let ((batch, queries, width), keys) = (self.q.dims3()?, self.k.dim(1)?);
        let (Some(q), Some(k), Some(v)) = (floats(&self.q), floats(&self.k), floats(&self.v)) else {
            return Ok(None);
        };
        let (of_queries, of_keys) =
            (Layout::tokens(batch, queries, width), Layout::tokens(batch, keys, width));
        let mut y = vec![0.0; of_queries.len()];
        let options = match self.mask {
            AttentionMask::None => Attention::full(self.heads),
            AttentionMask::Causal => Attention::causal(self.heads),
        };
        let (q, k, v) = (Image::new(&q, of_queries), Image::new(&k, of_keys), Image::new(&v, of_keys));
        kernels::attention(q, k, v, options, ImageMut::new(&mut y, of_queries));
        Ok(Some(Tensor::from_vec(y, self.q.shape(), self.q.device())?))
    }

    fn split(&self) -> Result<SplitHeads> {
        let (batch, _, width) = self.q.dims3()?;
        let split = |x: &Tensor| -> Result<Tensor> {
            let (_, n, _) = x.dims3()?;
            let heads = x.reshape((batch, n, self.heads, width / self.heads))?;
            Ok(heads.transpose(1, 2)?.contiguous()?)
        };
        let max_scores = if self.q.device().is_cpu() { MAX_SCORES } else { MAX_SCORES_ON_GPU };
        let (q, k, v) = ((split(&self.q)? * scale(width, self.heads))?, split(&self.k)?, split(&self.v)?);
        Ok(SplitHeads { q, k, v, mask: self.mask, max_scores })
    }
}

/// [batch, heads, n, d] to [batch, n, heads·d].
fn merge(x: &Tensor) -> Result<Tensor> {
    let (batch, heads, n, depth) = x.dims4()?;
    Ok(x.transpose(1, 2)?.reshape((batch, n, heads * depth))?)
}

/// Scaled queries, keys and values split by head, [batch, heads, n, d].
struct SplitHeads {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: AttentionMask,
    max_scores: usize,
}

impl SplitHeads {
    /// Ranges of queries, start and length, whose scores are held at once.
    fn slices(&self) -> Result<impl Iterator<Item = (usize, usize)> + use<>> {
        let ((batch, heads, queries, _), keys) = (self.q.dims4()?, self.k.dim(2)?);
        let slice = (self.max_scores / (batch * heads * keys)).clamp(1, queries);
        Ok((0..queries).step_by(slice).map(move |start| (start, slice.min(queries - start))))
    }

    /// The softmax of some rows of scores, in f32.
    fn weights(&self, start: usize, rows: usize) -> Result<Tensor> {
        let q = self.q.narrow(2, start, rows)?.contiguous()?;
        let mut scores = q.matmul(&self.k.t()?)?.to_dtype(DType::F32)?;
        if self.mask == AttentionMask::Causal {
            let bias = causal_bias(start, rows, self.k.dim(2)?, q.device())?;
            scores = scores.broadcast_add(&bias)?;
        }
        softmax(&scores)
    }

    fn forward(&self) -> Result<Tensor> {
        let mut parts = Vec::new();
        for (start, rows) in self.slices()? {
            parts.push(self.weights(start, rows)?.to_dtype(self.v.dtype())?.matmul(&self.v)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 2)? })
    }

    /// Gradients of the scaled queries, of the keys and of the values. With P the weights and G the result's
    /// gradient: ∂V = PᵀG, ∂S = P ∘ (GVᵀ − rowsum(GVᵀ ∘ P)), ∂Q = ∂S·K, ∂K = ∂SᵀQ.
    fn backward(&self, gradient: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
        let dtype = self.q.dtype();
        let (mut q_parts, mut k_sum, mut v_sum) = (Vec::new(), None, None);
        for (start, rows) in self.slices()? {
            let weights = self.weights(start, rows)?;
            let g = gradient.narrow(2, start, rows)?.contiguous()?;
            add_to(&mut v_sum, weights.to_dtype(dtype)?.t()?.matmul(&g)?)?;
            let scores = softmax_gradient(&weights, &g.matmul(&self.v.t()?)?.to_dtype(DType::F32)?)?;
            let scores = scores.to_dtype(dtype)?;
            q_parts.push(scores.matmul(&self.k)?);
            let q = self.q.narrow(2, start, rows)?.contiguous()?;
            add_to(&mut k_sum, scores.t()?.matmul(&q)?)?;
        }
        let q = if q_parts.len() == 1 { q_parts.remove(0) } else { Tensor::cat(&q_parts, 2)? };
        let sum = |sum: Option<Tensor>, like: &Tensor| sum.map_or_else(|| like.zeros_like(), Ok);
        Ok((q, sum(k_sum, &self.k)?, sum(v_sum, &self.v)?))
    }
}

fn add_to(sum: &mut Option<Tensor>, part: Tensor) -> Result<()> {
    *sum = Some(match sum.take() {
        Some(sum) => (sum + part)?,
        None => part,
    });
    Ok(())
}

/// P ∘ (g − rowsum(g ∘ P)), over the last axis.
fn softmax_gradient(weights: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    if let (Some(values), Some(found)) = (floats(weights), floats(gradient)) {
        let out = cpu::softmax_backward(&values, &found, weights.dim(D::Minus1)?, 1.0);
        return Ok(Tensor::from_vec(out, weights.shape(), weights.device())?);
    }
    let mean = (gradient * weights)?.sum_keepdim(D::Minus1)?;
    Ok((weights * gradient.broadcast_sub(&mean)?)?)
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
    fn gradients_equal_those_of_the_plain_formula() {
        for mask in [AttentionMask::None, AttentionMask::Causal] {
            let vars = [1, 2, 3].map(|i| candle_core::Var::from_tensor(&random(&[2, 5, 6], i)).unwrap());
            let [q, k, v] =
                vars.each_ref().map(|x| x.reshape((2, 5, 2, 3)).unwrap().transpose(1, 2).unwrap());
            let [q, k, v] = [q, k, v].map(|x| x.contiguous().unwrap());
            let mut scores = (q.matmul(&k.t().unwrap()).unwrap() / 3f64.sqrt()).unwrap();
            if mask == AttentionMask::Causal {
                scores = scores.broadcast_add(&causal_bias(0, 5, 5, q.device()).unwrap()).unwrap();
            }
            let expected = merge(&composed_softmax(&scores).unwrap().matmul(&v).unwrap()).unwrap();
            let found = attention(&vars[0], &vars[1], &vars[2], 2, mask).unwrap();
            assert_equal(&found.detach(), &expected.detach());
            let gradients = |y: Tensor| {
                let found = (y * random(&[2, 5, 6], 9)).unwrap().sum_all().unwrap().backward().unwrap();
                vars.clone().map(|var| found.get(&var).unwrap().clone())
            };
            for (found, expected) in gradients(found).iter().zip(&gradients(expected)) {
                assert_equal(found, expected);
            }
        }
    }

    #[test]
    fn slices_change_nothing() {
        let [q, k, v, g] = [1, 2, 3, 4].map(|i| random(&[2, 2, 5, 3], i));
        let split_heads = |max_scores| {
            let (q, k, v) = (q.clone(), k.clone(), v.clone());
            SplitHeads { q, k, v, mask: AttentionMask::Causal, max_scores }
        };
        let (whole, sliced) = (split_heads(MAX_SCORES), split_heads(2 * 2 * 5 * 2));
        assert_equal(&sliced.forward().unwrap(), &whole.forward().unwrap());
        let (found, expected) = (sliced.backward(&g).unwrap(), whole.backward(&g).unwrap());
        assert_equal(&found.0, &expected.0);
        assert_equal(&found.1, &expected.1);
        assert_equal(&found.2, &expected.2);
    }

    #[test]
    fn a_causal_mask_hides_what_comes_later() {
        let (q, k, v) = (random(&[1, 4, 6], 1), random(&[1, 4, 6], 2), random(&[1, 4, 6], 3));
        let all = attention(&q, &k, &v, 2, AttentionMask::Causal).unwrap();
        for n in 1..4 {
            let first = |x: &Tensor| x.narrow(1, 0, n).unwrap();
            let part = attention(&first(&q), &first(&k), &first(&v), 2, AttentionMask::Causal).unwrap();
            assert_equal(&part, &first(&all));
        }
    }
}
