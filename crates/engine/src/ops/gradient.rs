//! Results that candle's autograd takes as they are, with a gradient of our own.
//!
//! candle's backward pass computes the gradient of every argument, frozen weights too, and keeps every intermediate
//! result alive. Here an operation is computed in whatever way is fastest, and its gradient is a closure that knows
//! which arguments matter and holds only what it needs.

use std::sync::{Mutex, PoisonError};

use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Storage, Tensor,
    backend::BackendStorage, backprop::GradStore,
};

/// From the gradient of the result to those of the inputs, in their order; `None` where one is not wanted.
type Backward = dyn Fn(&Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync;

/// Stands in for the computation that gave `result`.
struct Attached {
    /// Taken by the forward pass.
    result: Mutex<Option<Tensor>>,
    backward: Box<Backward>,
}

/// `result` as a function of `inputs` (one to three of one dtype and device), whose gradients `backward` gives.
///
/// # Errors
/// Memory runs out.
pub(crate) fn attach(
    result: Tensor,
    inputs: &[&Tensor],
    backward: impl Fn(&Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
) -> crate::Result<Tensor> {
    let attached = Attached { result: Mutex::new(Some(result.contiguous()?)), backward: Box::new(backward) };
    Ok(match inputs {
        [a] => a.apply_op1(attached)?,
        [a, b] => a.apply_op2(b, attached)?,
        [a, b, c] => a.apply_op3(b, c, attached)?,
        _ => return Err(candle_core::Error::Msg(format!("{} inputs", inputs.len())).into()),
    })
}

/// All gradients behind `y`, given its own.
///
/// # Errors
/// An operation has no gradient, or memory runs out.
pub(crate) fn backward_from(y: &Tensor, gradient: &Tensor) -> Result<GradStore> {
    // A scalar whose gradient with respect to `y` is `gradient`, without a pass over `y`.
    let zero = Tensor::zeros((), DType::F32, y.device())?;
    let gradient = gradient.clone();
    let scalar = y.apply_op1(Attached {
        result: Mutex::new(Some(zero)),
        backward: Box::new(move |_| Ok(vec![Some(gradient.clone())])),
    })?;
    scalar.backward()
}

impl Attached {
    const NAME: &'static str = "attached";

    fn take(&self) -> Result<Tensor> {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        result.take().ok_or_else(|| candle_core::Error::Msg("a result was taken twice".to_owned()))
    }

    fn on_cpu(&self) -> Result<(CpuStorage, Shape)> {
        let tensor = self.take()?;
        let (storage, layout) = tensor.storage_and_layout();
        match &*storage {
            Storage::Cpu(storage) => Ok((storage.try_clone(layout)?, tensor.shape().clone())),
            _ => Err(candle_core::Error::Msg("the result lies on another device than its inputs".to_owned())),
        }
    }

    fn on_cuda(&self) -> Result<(CudaStorage, Shape)> {
        let tensor = self.take()?;
        let (storage, layout) = tensor.storage_and_layout();
        match &*storage {
            Storage::Cuda(storage) => Ok((storage.try_clone(layout)?, tensor.shape().clone())),
            _ => Err(candle_core::Error::Msg("the result lies on another device than its inputs".to_owned())),
        }
    }

    fn gradients<const N: usize>(&self, gradient: &Tensor) -> Result<[Option<Tensor>; N]> {
        let found = (self.backward)(&gradient.detach())?;
        found
            .try_into()
            .map_err(|_| candle_core::Error::Msg("a gradient for each input is needed".to_owned()))
    }
}

impl CustomOp1 for Attached {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let [a] = self.gradients(gradient)?;
        Ok(a)
    }
}

impl CustomOp2 for Attached {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [a, b] = self.gradients(gradient)?;
        Ok((a, b))
    }
}

impl CustomOp3 for Attached {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.on_cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.on_cuda()
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [a, b, c] = self.gradients(gradient)?;
        Ok((a, b, c))
    }
}
