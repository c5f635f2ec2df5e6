//! x·Wᵀ + b, and the same with a low-rank change beside it.

use candle_core::{D, Tensor};

use super::{cpu::floats, gradient::attach, operand::Operand, packed};
use crate::Result;

/// `x` [batch, tokens, in], `weight` [out, in] or a 1×1 convolution's [out, in, 1, 1], `bias` [out]; gives
/// [batch, tokens, out]. For a frozen weight only the gradient of `x` is ever computed.
pub(crate) fn linear(x: &Tensor, weight: &Operand, bias: Option<&Tensor>) -> Result<Tensor> {
    let frozen = !weight.is_tracked() && !bias.is_some_and(Tensor::track_op);
    if !x.track_op() || !frozen {
        return forward(x, weight, bias);
    }
    let y = forward(&x.detach(), weight, bias)?;
    let weight = weight.clone();
    attach(y, &[x], move |gradient| Ok(vec![Some(times(gradient, &weight)?)]))
}

/// x·Wᵀ + b + `scale`·(x·Aᵀ)·Bᵀ, with `down` A [rank, in] and `up` B [out, rank] (or those of a 1×1 convolution),
/// both f32 (Hu et al. 2021). Gradients: of `x` if it is tracked, of A and of B.
pub(crate) fn linear_low_rank(
    x: &Tensor,
    weight: &Operand,
    bias: Option<&Tensor>,
    down: &Tensor,
    up: &Tensor,
    scale: f64,
) -> Result<Tensor> {
    let plain = x.detach();
    let (a, b) = (down.detach().flatten_from(1)?, up.detach().flatten_from(1)?);
    let hidden = (composed(&plain.to_dtype(a.dtype())?, &a, None)? * scale)?;
    let y = forward(&plain, weight, bias)?;
    let y = (composed(&hidden, &b, None)?.to_dtype(y.dtype())? + y)?;
    if !x.track_op() && !down.track_op() && !up.track_op() {
        return Ok(y);
    }
    let (weight, wanted, shapes) = (weight.clone(), x.track_op(), (down.shape().clone(), up.shape().clone()));
    // candle's custom operations take arguments of one dtype or of several alike; only their gradients matter.
    attach(y, &[x, down, up], move |gradient| {
        let factors = gradient.to_dtype(a.dtype())?;
        let (rows, hidden) = (factors.flatten_to(1)?, hidden.flatten_to(1)?);
        // ∂B = gᵀ·h, with the scale in h; ∂h = s·g·B; ∂A = ∂hᵀ·x.
        let up_gradient = rows.t()?.matmul(&hidden)?;
        let hidden_gradient = (rows.matmul(&b)? * scale)?;
        let inputs = plain.contiguous()?.flatten_to(1)?.to_dtype(a.dtype())?;
        let down_gradient = hidden_gradient.t()?.matmul(&inputs)?;
        let x_gradient = if wanted {
            let through = hidden_gradient.matmul(&a)?.reshape(plain.shape())?.to_dtype(plain.dtype())?;
            Some((times(gradient, &weight)? + through)?)
        } else {
            None
        };
        let (down_gradient, up_gradient) =
            (down_gradient.reshape(&shapes.0)?, up_gradient.reshape(&shapes.1)?);
        Ok(vec![x_gradient, Some(down_gradient), Some(up_gradient)])
    })
}

/// x·Wᵀ + b.
fn forward(x: &Tensor, weight: &Operand, bias: Option<&Tensor>) -> Result<Tensor> {
    let matrix = match weight {
        Operand::Tensor(weight) => return composed(x, weight, bias),
        Operand::Packed(matrix) => matrix,
    };
    let (batch, tokens, _) = x.dims3()?;
    let (x, bias) = (x.contiguous()?, bias.map(Tensor::contiguous).transpose()?);
    let held = bias.as_ref().map(floats);
    let (Some(values), false) = (floats(&x), matches!(held, Some(None))) else { return Err(moved().into()) };
    let y = packed::rows(&values, matrix, held.flatten().as_deref());
    Ok(Tensor::from_vec(y, (batch, tokens, ()), x.device())?)
}

/// Error for operands of a packed weight that are not f32 on the CPU.
fn moved() -> candle_core::Error {
    candle_core::Error::Msg("a packed weight is multiplied with f32 on the CPU".to_owned())
}

/// Composed of candle's own operations.
fn composed(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (batch, tokens, _) = x.dims3()?;
    let weight = weight.flatten_from(1)?;
    let y = x.contiguous()?.flatten_to(1)?.matmul(&weight.t()?)?.reshape((batch, tokens, weight.dim(0)?))?;
    Ok(match bias {
        Some(bias) => y.broadcast_add(&bias.reshape((1, 1, bias.dim(D::Minus1)?))?)?,
        None => y,
    })
}

/// g·W for `gradient` [batch, tokens, out].
fn times(gradient: &Tensor, weight: &Operand) -> candle_core::Result<Tensor> {
    let (batch, tokens, _) = gradient.dims3()?;
    let gradient = gradient.contiguous()?;
    match weight {
        Operand::Tensor(weight) => {
            let weight = weight.flatten_from(1)?;
            gradient.flatten_to(1)?.matmul(&weight)?.reshape((batch, tokens, weight.dim(1)?))
        }
        Operand::Packed(matrix) => {
            let values = floats(&gradient).ok_or_else(moved)?;
            let x = packed::rows_backward(&values, matrix);
            Tensor::from_vec(x, (batch, tokens, ()), gradient.device())
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::*;
    use crate::ops::tests::{assert_equal, random};

    #[test]
    fn gradients_equal_those_of_the_composed_form() {
        let (x, weight, bias) = (random(&[2, 5, 6], 1), random(&[7, 6], 2), random(&[7], 3));
        let (a, b, probe) = (random(&[3, 6], 4), random(&[7, 3], 5), random(&[2, 5, 7], 6));
        let vars = [&x, &a, &b].map(|t| Var::from_tensor(t).unwrap());
        let gradients = |y: Tensor| {
            let found = (y * &probe).unwrap().sum_all().unwrap().backward().unwrap();
            vars.clone().map(|var| found.get(&var).cloned())
        };
        let [x, a, b] = vars.each_ref().map(Var::as_tensor);
        let hidden = composed(&composed(x, a, None).unwrap(), b, None).unwrap();
        let expected = (composed(x, &weight, Some(&bias)).unwrap() + (hidden * 0.7).unwrap()).unwrap();
        let found = linear_low_rank(x, &weight.clone().into(), Some(&bias), a, b, 0.7).unwrap();
        assert_equal(&found.detach(), &expected.detach());
        for (found, expected) in gradients(found).into_iter().zip(gradients(expected)) {
            assert_equal(&found.unwrap(), &expected.unwrap());
        }
        let plain = linear(x, &weight.clone().into(), Some(&bias)).unwrap();
        let [found, ..] = gradients(plain);
        let [expected, ..] = gradients(composed(x, &weight, Some(&bias)).unwrap());
        assert_equal(&found.unwrap(), &expected.unwrap());
    }

    #[test]
    fn an_untracked_input_costs_no_gradient() {
        let (x, weight) = (random(&[1, 3, 4], 1), random(&[5, 4], 2));
        let (a, b) =
            (Var::from_tensor(&random(&[2, 4], 3)).unwrap(), Var::from_tensor(&random(&[5, 2], 4)).unwrap());
        let y = linear_low_rank(&x, &weight.into(), None, &a, &b, 1.0).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        assert!(gradients.get(&x).is_none());
        assert!(gradients.get(&a).is_some() && gradients.get(&b).is_some());
    }
}
