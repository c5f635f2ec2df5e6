//! Activation functions.

use candle_core::{D, DType, Tensor};

use super::{
    cpu::{self, floats},
    gradient::attach,
    variants::Activation,
};
use crate::Result;

impl Activation {
    /// Elementwise.
    pub(crate) fn apply(self, x: &Tensor) -> Result<Tensor> {
        let Some(values) = floats(x) else { return self.composed(x) };
        let y = Tensor::from_vec(cpu::activate(&values, self), x.shape(), x.device())?;
        if !x.track_op() {
            return Ok(y);
        }
        let saved = x.detach();
        attach(y, &[x], move |gradient| {
            let gradient = gradient.contiguous()?;
            let (Some(values), Some(found)) = (floats(&saved), floats(&gradient)) else {
                return Err(moved());
            };
            let out = cpu::activate_backward(&values, &found, self);
            Ok(vec![Some(Tensor::from_vec(out, saved.shape(), saved.device())?)])
        })
    }

    /// Computed in f32 and rounded once: a GPU's half-precision exponentials lose digits.
    pub(super) fn composed(self, x: &Tensor) -> Result<Tensor> {
        let (dtype, x) = (x.dtype(), x.to_dtype(DType::F32)?);
        let y = match self {
            Self::Silu => x.silu()?,
            Self::Gelu => x.gelu_erf()?,
            // x·σ(ax) = silu(ax) / a
            Self::QuickGelu => ((x * 1.702)?.silu()? * (1.0 / 1.702))?,
        };
        Ok(y.to_dtype(dtype)?)
    }
}

/// Halves the last axis into (a, b) and gives a·gelu(b) (Shazeer 2020).
pub(crate) fn geglu(x: &Tensor) -> Result<Tensor> {
    let width = x.dim(D::Minus1)? / 2;
    let Some(values) = floats(x) else { return composed_geglu(x, width) };
    let mut shape = x.dims().to_vec();
    shape.iter_mut().last().into_iter().for_each(|last| *last = width);
    let y = Tensor::from_vec(cpu::geglu(&values, width), shape, x.device())?;
    if !x.track_op() {
        return Ok(y);
    }
    let saved = x.detach();
    attach(y, &[x], move |gradient| {
        let gradient = gradient.contiguous()?;
        let (Some(values), Some(found)) = (floats(&saved), floats(&gradient)) else { return Err(moved()) };
        let out = cpu::geglu_backward(&values, &found, width);
        Ok(vec![Some(Tensor::from_vec(out, saved.shape(), saved.device())?)])
    })
}

/// Cannot happen: the gradient of an f32 tensor on the CPU is one, too.
fn moved() -> candle_core::Error {
    candle_core::Error::Msg("an activation's gradient is not f32 on the CPU as its input was".to_owned())
}

fn composed_geglu(x: &Tensor, width: usize) -> Result<Tensor> {
    let value = x.narrow(D::Minus1, 0, width)?;
    let gate = x.narrow(D::Minus1, width, width)?.contiguous()?;
    Ok((value * Activation::Gelu.composed(&gate)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tests::{assert_equal, random};

    #[test]
    fn the_fast_forms_equal_the_composed_ones() {
        let x = (random(&[3, 5, 22], 0) * 4.0).unwrap();
        for activation in [Activation::Silu, Activation::Gelu, Activation::QuickGelu] {
            assert_equal(&activation.apply(&x).unwrap(), &activation.composed(&x).unwrap());
        }
        assert_equal(&geglu(&x).unwrap(), &composed_geglu(&x, 11).unwrap());
    }

    #[test]
    fn the_fast_gradients_equal_the_composed_ones() {
        let x = candle_core::Var::from_tensor(&(random(&[3, 5, 22], 0) * 3.0).unwrap()).unwrap();
        let gradient = |y: Tensor| {
            let loss = (&y * random(y.dims(), 1)).unwrap().sum_all().unwrap();
            loss.backward().unwrap().get(&x).unwrap().clone()
        };
        for activation in [Activation::Silu, Activation::Gelu, Activation::QuickGelu] {
            let expected = gradient(activation.composed(&x).unwrap());
            assert_equal(&gradient(activation.apply(&x).unwrap()), &expected);
        }
        assert_equal(&gradient(geglu(&x).unwrap()), &gradient(composed_geglu(&x, 11).unwrap()));
    }
}
