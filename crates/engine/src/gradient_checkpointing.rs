//! Gradient checkpointing (Chen et al. 2016): recomputes the activations of parts of a model in the backward pass
//! instead of keeping them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use candle_core::{DType, Tensor, TensorId, Var};

use crate::{Result, ops};

/// Gradient checkpointing of one model. Collects the gradients of the parameters inside the checkpointed parts, because
/// candle's autograd sees each part as one operation and computes only the gradients of its inputs.
#[derive(Clone, Debug)]
pub(crate) struct GradientCheckpointing {
    parameters: Arc<Vec<Var>>,
    found: Arc<Mutex<HashMap<TensorId, Tensor>>>,
    /// Tracked input that makes a part's result tracked even if its other inputs are not.
    anchor: Var,
}

impl GradientCheckpointing {
    /// Gradient checkpointing for a model whose trained parameters are `parameters`.
    ///
    /// # Errors
    /// Memory runs out.
    pub(crate) fn new(parameters: Vec<Var>, dtype: DType, device: &candle_core::Device) -> Result<Self> {
        let anchor = Var::zeros(1, dtype, device)?;
        Ok(Self { parameters: Arc::new(parameters), found: Arc::default(), anchor })
    }

    /// Takes the gradients collected since the last call.
    pub(crate) fn take(&self) -> HashMap<TensorId, Tensor> {
        std::mem::take(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Computes `part(x, context)` and keeps only the result.
    pub(crate) fn run(
        &self,
        x: &Tensor,
        context: &Tensor,
        part: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
    ) -> Result<Tensor> {
        let (x_tracked, context_tracked) = (x.track_op(), context.track_op());
        let (x_plain, context_plain) = (x.detach(), context.detach());
        // The parameters inside are tracked; detaching the result frees the intermediate results.
        let y = part(&x_plain, &context_plain)?.detach();
        let this = self.clone();
        ops::attach(y, &[x, context, self.anchor.as_tensor()], move |gradient| {
            let input = |x: &Tensor, tracked: bool| -> candle_core::Result<(Tensor, Option<Var>)> {
                if !tracked {
                    return Ok((x.clone(), None));
                }
                let var = Var::from_tensor(x)?;
                Ok((var.as_tensor().clone(), Some(var)))
            };
            let (x, x_var) = input(&x_plain, x_tracked)?;
            let (context, context_var) = input(&context_plain, context_tracked)?;
            let y = part(&x, &context).map_err(candle_core::Error::wrap)?;
            let mut gradients = ops::backward_from(&y, gradient)?;
            let mut found = this.found.lock().unwrap_or_else(PoisonError::into_inner);
            for parameter in this.parameters.iter() {
                if let Some(part) = gradients.remove(parameter) {
                    let sum = match found.remove(&parameter.id()) {
                        Some(sum) => (sum + part)?,
                        None => part,
                    };
                    found.insert(parameter.id(), sum);
                }
            }
            let mut take = |var: Option<Var>| var.and_then(|var| gradients.remove(&var));
            Ok(vec![take(x_var), take(context_var), None])
        })
    }
}
