//! A weight that adapters can change without ever touching the base.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use candle_core::{DType, Device, Shape, Tensor};

use crate::{
    Result,
    ops::{Lend, Operand, Packed, PackedMatrix},
};

/// The next version of a weight.
static VERSIONS: AtomicU64 = AtomicU64::new(1);

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

/// Set in versions that are names of changes, not numbers that count up.
const NAMED: u64 = 1 << 63;

/// Whether a weight may have that version again, with the same values.
pub(crate) fn recurs(version: u64) -> bool {
    version == 0 || version & NAMED != 0
}

/// Keeps values of weights in another form than tensors, such as packed for a product.
pub(crate) trait Store: std::fmt::Debug + Send + Sync {
    /// The values of one of its weights, in the order of a tensor's.
    ///
    /// # Errors
    /// They lie in a file that cannot be read.
    fn values(&self, part: usize) -> Result<Vec<f32>>;
    /// Their Frobenius norm.
    ///
    /// # Errors
    /// As [`Self::values`].
    fn norm(&self, part: usize) -> Result<f64>;
    /// A weight that has a packed matrix of its own.
    fn matrix(&self, _part: usize) -> Option<&PackedMatrix> {
        None
    }
}

/// One weight of a store, with a matrix of its own.
#[derive(Debug)]
struct Part {
    store: Arc<dyn Store>,
    part: usize,
}

impl Lend for Part {
    fn matrix(&self) -> &PackedMatrix {
        self.store.matrix(self.part).expect("looked for when this was made")
    }
}

/// Reads the values of a weight from where they lie.
pub(crate) trait Source: std::fmt::Debug + Send + Sync {
    /// The tensor, in the weight's shape.
    ///
    /// # Errors
    /// It cannot be read, or memory runs out.
    fn read(&self) -> Result<Tensor>;
}

/// The values of a weight.
#[derive(Clone, Debug)]
enum Values {
    Tensor(Tensor),
    /// Read again whenever they are needed.
    Deferred(Arc<dyn Source>),
    /// f32, on the CPU.
    Stored {
        store: Arc<dyn Store>,
        part: usize,
    },
    /// The base plus low-rank changes.
    Sum(Arc<[LowRank]>),
}

/// The weight of a linear layer `[out, in]` or of a convolution `[out, in, height, width]`; a bias, or a parameter of a
/// normalisation `[channels]`.
///
/// The base is never written to; the effective weight is always recomputed from it, so any sequence of
/// adapters that ends without one ends with the base's own values.
#[derive(Clone, Debug)]
pub struct Weight {
    shape: Shape,
    base: Values,
    /// `None`: the base.
    effective: Option<Values>,
    /// Another number for every other effective weight; 0 for the base.
    version: u64,
    low_rank: Option<LowRank>,
    /// The version with `low_rank`.
    trained: u64,
}

/// A change, of an adapter or in training: `scale`·up·down (Hu et al. 2021). An adapter's factors are as its file has them.
#[derive(Clone, Debug)]
pub(crate) struct LowRank {
    /// A: [rank, in] or [rank, in, height, width].
    pub(crate) down: Tensor,
    /// B: [out, rank] or [out, rank, 1, 1].
    pub(crate) up: Tensor,
    /// alpha / rank.
    pub(crate) scale: f64,
}

impl LowRank {
    /// up and down, f32, contiguous, on the CPU if the weight is.
    pub(crate) fn factors(&self) -> Result<(Tensor, Tensor)> {
        let plain = |factor: &Tensor| factor.detach().to_dtype(DType::F32)?.contiguous();
        Ok((plain(&self.up)?, plain(&self.down)?))
    }

    /// scale·up·down in the weight's shape, f32.
    fn delta(&self, shape: &Shape) -> Result<Tensor> {
        let (up, down) = self.factors()?;
        Ok((up.flatten_from(1)?.matmul(&down.flatten_from(1)?)? * self.scale)?.reshape(shape)?)
    }
}

/// Frobenius norm.
pub(crate) fn norm(tensor: &Tensor) -> Result<f64> {
    Ok(f64::from(tensor.to_dtype(DType::F32)?.sqr()?.sum_all()?.to_scalar::<f32>()?).sqrt())
}

impl Weight {
    /// A weight without any adapter.
    pub fn new(base: Tensor) -> Self {
        Self::of(base.shape().clone(), Values::Tensor(base))
    }

    /// A weight whose values stay where they are until a plan packs them or [`Self::hold`] reads them.
    pub(crate) fn deferred(shape: Shape, source: Arc<dyn Source>) -> Self {
        Self::of(shape, Values::Deferred(source))
    }

    fn of(shape: Shape, base: Values) -> Self {
        Self { shape, base, effective: None, version: 0, low_rank: None, trained: 0 }
    }

    /// Its dimensions.
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }

    /// The weight as it stands in the checkpoint, in the compute dtype.
    ///
    /// # Errors
    /// It has to be unpacked first, and memory runs out.
    pub fn base(&self) -> Result<Tensor> {
        self.tensor(&self.base)
    }

    /// What the layer multiplies with: the base itself, or base + delta.
    ///
    /// # Errors
    /// As [`Self::base`].
    pub fn effective(&self) -> Result<Tensor> {
        self.tensor(self.effective.as_ref().unwrap_or(&self.base))
    }

    /// The same as a product takes it: packed, where a plan has it so.
    ///
    /// # Errors
    /// As [`Self::base`].
    pub(crate) fn operand(&self) -> Result<Operand> {
        let values = self.effective.as_ref().unwrap_or(&self.base);
        match Self::packed(values) {
            Some(packed) => Ok(Operand::Packed(packed)),
            None => Ok(self.tensor(values)?.into()),
        }
    }

    fn packed(values: &Values) -> Option<Packed> {
        let Values::Stored { store, part } = values else { return None };
        store.matrix(*part)?;
        Packed::new(Arc::new(Part { store: Arc::clone(store), part: *part }))
    }

    fn tensor(&self, values: &Values) -> Result<Tensor> {
        Ok(match values {
            Values::Tensor(tensor) => tensor.clone(),
            Values::Deferred(source) => source.read()?,
            Values::Stored { store, part } => {
                Tensor::from_vec(store.values(*part)?, &self.shape, &Device::Cpu)?
            }
            Values::Sum(changes) => {
                let base = self.base()?;
                let mut sum = base.to_dtype(DType::F32)?;
                for change in changes.iter() {
                    sum = (sum + change.delta(&self.shape)?)?;
                }
                sum.to_dtype(base.dtype())?
            }
        })
    }

    /// Frobenius norm of the base.
    ///
    /// # Errors
    /// As [`Self::base`].
    pub(crate) fn norm(&self) -> Result<f64> {
        match &self.base {
            Values::Stored { store, part } => store.norm(*part),
            _ => norm(&self.base()?),
        }
    }

    /// Whether its values lie on another device than the CPU.
    pub(crate) fn is_elsewhere(&self) -> bool {
        match self.effective.as_ref().unwrap_or(&self.base) {
            Values::Tensor(tensor) => !tensor.device().is_cpu(),
            _ => false,
        }
    }

    /// Whether no tensor holds the base.
    pub(crate) fn is_stored(&self) -> bool {
        matches!(self.base, Values::Stored { .. })
    }

    /// Makes the effective weight the base plus `changes`, on the CPU. What is stored adds them up in its own form.
    /// Equal changes have equal names.
    pub(crate) fn set_changes(&mut self, changes: Vec<LowRank>, name: u64) {
        self.effective = Some(Values::Sum(changes.into()));
        self.version = name | NAMED;
    }

    /// The changes that the effective weight still is to be made of.
    pub(crate) fn changes(&self) -> Option<&[LowRank]> {
        match &self.effective {
            Some(Values::Sum(changes)) if self.low_rank.is_none() => Some(changes),
            _ => None,
        }
    }

    /// Whether an adapter changes it.
    pub fn is_changed(&self) -> bool {
        self.effective.is_some()
    }

    /// Equal numbers stand for equal results of [`Self::merged`]; 0 for the base.
    pub(crate) fn version(&self) -> u64 {
        if self.low_rank.is_some() { self.trained } else { self.version }
    }

    /// The effective weight with the change in training added.
    pub(crate) fn merged(&self) -> Result<Tensor> {
        let effective = self.effective()?;
        let Some(change) = &self.low_rank else { return Ok(effective) };
        let sum = (effective.to_dtype(DType::F32)? + change.delta(&self.shape)?)?;
        Ok(sum.to_dtype(effective.dtype())?)
    }

    /// The change in training, if there is one.
    pub(crate) fn low_rank(&self) -> Option<&LowRank> {
        self.low_rank.as_ref()
    }

    /// Puts a change in training beside the effective weight.
    pub(crate) fn set_low_rank(&mut self, low_rank: Option<LowRank>) {
        self.low_rank = low_rank;
        self.trained = VERSIONS.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes the effective weight `base + delta` (added in f32, then rounded to the base's dtype), or the base
    /// itself for `None`.
    ///
    /// # Errors
    /// `delta` has another shape or lies on another device than the base.
    pub fn set_delta(&mut self, delta: Option<&Tensor>) -> Result<()> {
        let Some(delta) = delta else {
            (self.effective, self.version) = (None, 0);
            return Ok(());
        };
        let base = self.base()?;
        let sum = (base.to_dtype(DType::F32)? + delta.to_dtype(DType::F32)?)?.to_dtype(base.dtype())?;
        self.effective = Some(Values::Tensor(sum));
        self.version = VERSIONS.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Leaves the base to `store`, and gives it away: a weight without adapters.
    pub(crate) fn store_base(&mut self, store: Arc<dyn Store>, part: usize) -> Self {
        let base = std::mem::replace(&mut self.base, Values::Stored { store, part });
        Self::of(self.shape.clone(), base)
    }

    /// Takes back what [`Self::store_base`] gave away.
    pub(crate) fn restore_base(&mut self, base: &Self) {
        self.base = base.base.clone();
    }

    /// Leaves the effective weight to `store`, which holds it.
    pub(crate) fn store_effective(&mut self, store: Arc<dyn Store>, part: usize) {
        if self.effective.is_some() && self.low_rank.is_none() {
            self.effective = Some(Values::Stored { store, part });
        }
    }

    /// Makes the base something that layers multiply with again and again: packed, or a tensor of its own.
    ///
    /// # Errors
    /// As [`Self::base`].
    pub(crate) fn hold_for_layers(&mut self) -> Result<()> {
        if Self::packed(&self.base).is_some() { Ok(()) } else { self.hold() }
    }

    /// Makes the base a tensor of its own, for what computes with it often.
    ///
    /// # Errors
    /// As [`Self::base`].
    pub(crate) fn hold(&mut self) -> Result<()> {
        self.base = Values::Tensor(self.base()?);
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
        assert_eq!(weight.effective().unwrap().to_vec2::<f32>().unwrap(), [[2., 4.], [6., 8.]]);
        assert_eq!(weight.base().unwrap().to_vec2::<f32>().unwrap(), [[1., 2.], [3., 4.]]);
        weight.set_delta(None).unwrap();
        assert_eq!(weight.effective().unwrap().id(), base.id());
        assert_eq!(weight.version(), 0);
    }

    #[test]
    fn a_delta_of_another_shape_is_an_error() {
        let mut weight = Weight::new(Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap());
        let delta = Tensor::zeros((3, 2), DType::F32, &Device::Cpu).unwrap();
        assert!(weight.set_delta(Some(&delta)).is_err());
    }
}
