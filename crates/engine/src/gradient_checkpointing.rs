//! Gradient checkpointing (Chen et al. 2016): a part of a model whose intermediate results are not kept for the
//! backward pass, but computed again when it comes to them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use candle_core::{DType, Tensor, TensorId, Var};

use crate::{Result, ops};

/// Says what is trained inside the parts, and collects the gradients that are found there: candle's autograd sees
/// each part as one operation and asks it only for the gradients of its inputs.
#[derive(Clone, Debug)]
pub(crate) struct GradientCheckpointing {
    parameters: Arc<Vec<Var>>,
    found: Arc<Mutex<HashMap<TensorId, Tensor>>>,
    /// Makes a part's result tracked where its inputs are not.
    anchor: Var,
}

impl GradientCheckpointing {
    /// For a model whose `parameters` are trained.
    ///
    /// # Errors
    /// Memory runs out.
    pub(crate) fn new(parameters: Vec<Var>, dtype: DType, device: &candle_core::Device) -> Result<Self> {
        let anchor = Var::zeros(1, dtype, device)?;
        Ok(Self { parameters: Arc::new(parameters), found: Arc::default(), anchor })
    }

    /// The gradients found since the last call.
    pub(crate) fn take(&self) -> HashMap<TensorId, Tensor> {
        std::mem::take(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// `part(x, context)`, of which nothing but the result is kept.
    pub(crate) fn run(
        &self,
        x: &Tensor,
        context: &Tensor,
        part: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
    ) -> Result<Tensor> {
        let (x_tracked, context_tracked) = (x.track_op(), context.track_op());
        let (x_plain, context_plain) = (x.detach(), context.detach());
        // The parameters inside are tracked; detaching the result lets go of everything between.
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
