//! AdamW (Loshchilov and Hutter 2019), as torch.optim.AdamW computes it.

use candle_core::{DType, Tensor, Var};

use crate::Result;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// AdamW state: the two moments of every parameter and the number of steps done.
#[derive(Debug)]
pub(super) struct AdamW {
    pub(super) steps_done: u32,
    pub(super) first: Vec<Tensor>,
    pub(super) second: Vec<Tensor>,
}

impl AdamW {
    /// Initial state for f32 `parameters`.
    pub(super) fn new<'a>(parameters: impl Iterator<Item = &'a Var>) -> Result<Self> {
        let first =
            parameters.map(|p| Ok(p.as_tensor().zeros_like()?.detach())).collect::<Result<Vec<_>>>()?;
        Ok(Self { steps_done: 0, second: first.clone(), first })
    }

    /// Runs one optimizer step. `gradients` are in the parameters' order; a missing one counts as zero.
    pub(super) fn step<'a>(
        &mut self,
        parameters: impl Iterator<Item = &'a Var>,
        gradients: &[Option<Tensor>],
        rate: f64,
        weight_decay: f64,
    ) -> Result<()> {
        self.steps_done += 1;
        let correction1 = 1.0 - BETA1.powf(f64::from(self.steps_done));
        let correction2 = 1.0 - BETA2.powf(f64::from(self.steps_done));
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((parameter, gradient), (first, second)) in parameters.zip(gradients).zip(moments) {
            let Some(gradient) = gradient else { continue };
            *first = ((&*first * BETA1)? + (gradient * (1.0 - BETA1))?)?;
            *second = ((&*second * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
            let denominator = ((second.sqrt()? / correction2.sqrt())? + EPS)?;
            let value = (parameter.as_detached_tensor() * (1.0 - rate * weight_decay))?;
            parameter.set(&(value - ((&*first / &denominator)? * (rate / correction1))?)?)?;
        }
        Ok(())
    }
}

/// Global gradient norm, summed in f64.
pub(super) fn norm(gradients: &[Option<Tensor>]) -> Result<f64> {
    let mut sum = 0f64;
    for gradient in gradients.iter().flatten() {
        sum += gradient.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?;
    }
    Ok(sum.sqrt())
}

/// Clips the global gradient norm, currently `norm`, to `most` (torch's `clip_grad_norm_`).
pub(super) fn clip(gradients: &mut [Option<Tensor>], norm: f64, most: f64) -> Result<()> {
    let factor = most / (norm + 1e-6);
    if factor < 1.0 {
        for gradient in gradients.iter_mut().flatten() {
            *gradient = (&*gradient * factor)?;
        }
    }
    Ok(())
}
