//! Attention in one kernel (Dao et al. 2022), which never holds the scores: for f16 and bf16 on GPUs from compute
//! capability 8.0. It has no gradient.

use candle_core::{DType, Device, Tensor};

use super::variants::AttentionMask;
use crate::Result;

/// Widest head that there is a kernel for.
const WIDEST: usize = 256;

/// As [`super::attention`]; `None` if no kernel applies.
pub(super) fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    mask: AttentionMask,
) -> Result<Option<Tensor>> {
    let (batch, queries, width) = q.dims3()?;
    let (_, keys, _) = k.dims3()?;
    let depth = width / heads;
    let tracked = [q, k, v].iter().any(|x| x.track_op());
    let half = matches!(q.dtype(), DType::F16 | DType::BF16);
    if tracked || !half || depth > WIDEST || !depth.is_multiple_of(8) || !from_ampere(q.device()) {
        return Ok(None);
    }
    let split = |x: &Tensor, n: usize| x.contiguous()?.reshape((batch, n, heads, depth));
    let scale = 1.0 / (depth as f32).sqrt();
    let (q, k, v) = (split(q, queries)?, split(k, keys)?, split(v, keys)?);
    let y = candle_flash_attn::flash_attn(&q, &k, &v, scale, mask == AttentionMask::Causal)?;
    Ok(Some(y.reshape((batch, queries, width))?))
}

/// Whether the kernels run there: they are written for Ampere and what came after it.
fn from_ampere(device: &Device) -> bool {
    let Device::Cuda(device) = device else { return false };
    device.cuda_stream().context().compute_capability().is_ok_and(|(major, _)| major >= 8)
}
