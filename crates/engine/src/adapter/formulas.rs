//! The products that layers are made of, in f32.

use candle_core::{DType, Device, Tensor};

use crate::Result;

/// Columns of a factor, as a matrix.
pub(super) fn inner(factor: &Tensor) -> usize {
    factor.dims().iter().skip(1).product()
}

/// As a matrix in f32 on `device`.
pub(super) fn matrix(factor: &Tensor, device: &Device) -> Result<Tensor> {
    Ok(factor.to_device(device)?.to_dtype(DType::F32)?.flatten_from(1)?)
}

/// ΔW[p, r, k] = Σᵢⱼ core[i, j, k] · a[i, p] · b[j, r], as a matrix [p, r·k].
pub(super) fn tucker(core: &Tensor, a: &Tensor, b: &Tensor, device: &Device) -> Result<Tensor> {
    let (i, j, height, width) = core.dims4()?;
    let (p, r, kernel) = (a.dim(1)?, b.dim(1)?, height * width);
    let core = core.to_device(device)?.to_dtype(DType::F32)?.reshape((i, j * kernel))?;
    let left = a.t()?.contiguous()?.matmul(&core)?.reshape((p, j, kernel))?;
    let left = left.transpose(1, 2)?.contiguous()?.reshape((p * kernel, j))?;
    let both = left.matmul(b)?.reshape((p, kernel, r))?;
    Ok(both.transpose(1, 2)?.contiguous()?.reshape((p, r * kernel))?)
}

/// a ⊗ b.
pub(super) fn kronecker(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let ((m, n), (p, q)) = (a.dims2()?, b.dims2()?);
    let product = a.reshape((m, 1, n, 1))?.broadcast_mul(&b.reshape((1, p, 1, q))?)?;
    Ok(product.reshape((m * p, n * q))?)
}

/// Whether DoRA's m is stored for each input, [1, in, …].
pub(super) fn per_input(magnitude: &Tensor, base: &[usize]) -> bool {
    matches!(magnitude.dims(), [1, inputs, ..] if base.get(1) == Some(inputs) && magnitude.elem_count() == *inputs)
}

/// m · (W + Δ) / ‖W + Δ‖ − W, the norm taken for each output, or for each input where m is stored so.
pub(super) fn dora(delta: &Tensor, magnitude: &Tensor, base: &Tensor) -> Result<Tensor> {
    let base = base.to_dtype(DType::F32)?;
    let directed = (&base + delta)?;
    let axis = usize::from(per_input(magnitude, base.dims()));
    let mut shape = vec![1; base.rank()];
    shape[axis] = base.dim(axis)?;
    let mut squares = directed.sqr()?;
    for other in (0..base.rank()).filter(|dim| *dim != axis) {
        squares = squares.sum_keepdim(other)?;
    }
    let magnitude = magnitude.to_device(base.device())?.to_dtype(DType::F32)?.reshape(shape)?;
    let factor = (magnitude / squares.sqrt()?)?;
    Ok((directed.broadcast_mul(&factor)? - base)?)
}

/// W·a·b over the inputs of every output and kernel place, as a matrix [out, in·kernel]; `flat`: over inputs and kernel
/// together. `a` [in, r], `b` [r, in].
pub(super) fn glora(base: &Tensor, a: &Tensor, b: &Tensor, flat: bool) -> Result<Tensor> {
    let base = base.to_dtype(DType::F32)?.flatten_from(1)?;
    let (outputs, columns) = base.dims2()?;
    let inputs = if flat { columns } else { a.dim(0)? };
    let kernel = columns / inputs.max(1);
    let rows = base.reshape((outputs, inputs, kernel))?.transpose(1, 2)?.contiguous()?;
    let through = rows.reshape((outputs * kernel, inputs))?.matmul(a)?.matmul(b)?;
    let through = through.reshape((outputs, kernel, inputs))?.transpose(1, 2)?.contiguous()?;
    Ok(through.reshape((outputs, columns))?)
}
