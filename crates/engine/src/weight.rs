//! A weight that adapters can change without ever touching the base.

use candle_core::{DType, Tensor};

use crate::Result;

/// Called with the checkpoint's module path (`down_blocks.0.attentions.0.proj_in`) and the weight of that
/// module, which adapters may change.
pub type WeightVisitor<'a> = dyn FnMut(&str, &mut Weight) -> Result<()> + 'a;

/// Called as [`WeightVisitor`] is, with every parameter that adapters may change.
pub type ParameterVisitor<'a> = dyn FnMut(&str, Parameter, &mut Weight) -> Result<()> + 'a;

/// What a parameter is to its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parameter {
    /// The weight of a linear layer or a convolution.
    Weight,
    /// The bias of a linear layer or a convolution.
    Bias,
    /// What a normalisation multiplies with.
    NormWeight,
    /// What a normalisation adds.
    NormBias,
}

impl Parameter {
    /// Whether it is added, not multiplied with.
    pub fn is_bias(self) -> bool {
        matches!(self, Self::Bias | Self::NormBias)
    }
}

/// The weight of a linear layer `[out, in]` or of a convolution `[out, in, height, width]`; a bias, or a parameter of a
/// normalisation `[channels]`.
///
/// The base is never written to; the effective weight is always recomputed from it, so any sequence of
/// adapters that ends without one ends with the base's own storage.
#[derive(Clone, Debug)]
pub struct Weight {
    base: Tensor,
    effective: Tensor,
    low_rank: Option<LowRank>,
}

/// A change that is being trained, beside the effective weight: `scale`·up·down (Hu et al. 2021).
#[derive(Clone, Debug)]
pub(crate) struct LowRank {
    /// A: [rank, in] or [rank, in, height, width].
    pub(crate) down: Tensor,
    /// B: [out, rank] or [out, rank, 1, 1].
    pub(crate) up: Tensor,
    /// alpha / rank.
    pub(crate) scale: f64,
}

impl Weight {
    /// A weight without any adapter.
    pub fn new(base: Tensor) -> Self {
        Self { effective: base.clone(), base, low_rank: None }
    }

    /// The weight as it stands in the checkpoint, in the compute dtype.
    pub fn base(&self) -> &Tensor {
        &self.base
    }

    /// What the layer multiplies with: the base itself, or base + delta.
    pub fn effective(&self) -> &Tensor {
        &self.effective
    }

    /// The change in training, if there is one.
    pub(crate) fn low_rank(&self) -> Option<&LowRank> {
        self.low_rank.as_ref()
    }

    /// Puts a change in training beside the effective weight.
    pub(crate) fn set_low_rank(&mut self, low_rank: Option<LowRank>) {
        self.low_rank = low_rank;
    }

    /// Makes the effective weight `base + delta` (added in f32, then rounded to the base's dtype), or the base
    /// itself for `None`.
    ///
    /// # Errors
    /// `delta` has another shape or lies on another device than the base.
    pub fn set_delta(&mut self, delta: Option<&Tensor>) -> Result<()> {
        self.effective = match delta {
            None => self.base.clone(),
            Some(delta) => (self.base.to_dtype(DType::F32)? + delta.to_dtype(DType::F32)?)?
                .to_dtype(self.base.dtype())?,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_base_survives_any_delta() {
        let base = Tensor::new(&[[1f32, 2.], [3., 4.]], &Device::Cpu).unwrap();
        let mut weight = Weight::new(base.clone());
        weight.set_delta(Some(&base)).unwrap();
        assert_eq!(weight.effective().to_vec2::<f32>().unwrap(), [[2., 4.], [6., 8.]]);
        assert_eq!(weight.base().to_vec2::<f32>().unwrap(), [[1., 2.], [3., 4.]]);
        weight.set_delta(None).unwrap();
        assert_eq!(weight.effective().id(), base.id());
    }

    #[test]
    fn a_delta_of_another_shape_is_an_error() {
        let mut weight = Weight::new(Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap());
        let delta = Tensor::zeros((3, 2), DType::F32, &Device::Cpu).unwrap();
        assert!(weight.set_delta(Some(&delta)).is_err());
    }
}
