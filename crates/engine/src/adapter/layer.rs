//! What an adapter adds to the parameters of one module.
//!
//! Formulas: LoRA (Hu et al. 2021), LoCon, LoHa, LoKr, full differences and norms as in LyCORIS (Yeh et al. 2023), DoRA
//! (Liu et al. 2024), (IA)³ (Liu et al. 2022), GLoRA (Chavan et al. 2023), rotations in `rotation.rs`. All in f32, from
//! the pristine base.

use std::sync::OnceLock;

use candle_core::{DType, Device, Tensor};

use super::{
    change::{Change, change},
    formulas::per_input,
    kind::{Kind, LayerTensors, ScaleRule},
    role::TensorRole,
};
use crate::Result;

/// One module's change, checked for consistency within itself.
#[derive(Debug)]
pub(super) struct Layer {
    change: Option<Change>,
    /// Added as it is, scaled by nothing but the strength.
    diff: Option<Tensor>,
    bias: Option<Bias>,
    is_norm: bool,
    magnitude: Option<Tensor>,
    /// Of up·down, once requested.
    product_norm: OnceLock<f64>,
    /// 0 where the change has none.
    pub(super) rank: usize,
    /// As stored, or the rank where nothing is stored.
    pub(super) alpha: f64,
    /// alpha / rank, or what the format's own rule makes of it.
    pub(super) scale: f64,
}

/// What becomes of a module's bias.
#[derive(Debug)]
enum Bias {
    /// Added to it.
    Diff(Tensor),
    /// Added to it after [`Layer::scale`].
    Up(Tensor),
    /// Multiplied with it, as the outputs are.
    Factor(Tensor),
}

impl Layer {
    /// Builds the layer from its tensors; the error is a clause that follows the module's name.
    pub(super) fn new(mut tensors: LayerTensors, rule: ScaleRule) -> std::result::Result<Self, String> {
        let stored_alpha =
            tensors.remove(&TensorRole::Alpha).map(|alpha| single(&alpha, "alpha")).transpose()?;
        let scalar =
            tensors.remove(&TensorRole::Scalar).map(|scalar| single(&scalar, "scalar")).transpose()?;
        // PEFT has one m for each output, stored for convolutions as [1, out, 1, 1]; LyCORIS' shape tells.
        let per_output = tensors.remove(&TensorRole::Magnitude).map(|m| m.flatten_all()).transpose();
        let magnitude =
            per_output.map_err(|error| error.to_string())?.or(tensors.remove(&TensorRole::DoraScale));
        let norm = tensors.remove(&TensorRole::NormWeight);
        let (norm_bias, diff_bias) =
            (tensors.remove(&TensorRole::NormBias), tensors.remove(&TensorRole::DiffBias));
        let is_norm = norm.is_some() || norm_bias.is_some();
        let up_bias = tensors.remove(&TensorRole::UpBias).map(Bias::Up);
        let diff = tensors.remove(&TensorRole::Diff).or(norm);
        let lacks_all = diff.is_none() && norm_bias.is_none() && diff_bias.is_none();
        let (change, rank) = match change(&mut tensors, &rule, stored_alpha)? {
            Some((change, rank)) => (Some(change), rank),
            None if lacks_all => return Err("lacks a factor".to_owned()),
            None => (None, None),
        };
        let factor = match &change {
            Some(Change::Ia3 { factor, on_input: false, less_one: false }) => {
                Some(Bias::Factor(factor.clone()))
            }
            _ => None,
        };
        let bias = norm_bias.or(diff_bias).map(Bias::Diff).or(up_bias).or(factor);
        if let Some(role) = tensors.keys().next() {
            return Err(format!("has an unexpected tensor ({role:?})"));
        }
        if magnitude.is_some() && change.is_none() {
            return Err("has a magnitude (DoRA), but no factors".to_owned());
        }
        let divisor = rank.map(|rank| rank as f64).or(rule.rank.filter(|_| is_lokr(change.as_ref())));
        // Trainers that store no alpha, or 0, mean alpha = rank.
        let alpha = stored_alpha.or(rule.alpha).filter(|alpha| *alpha != 0.0);
        let alpha = alpha.unwrap_or_else(|| divisor.unwrap_or(1.0));
        let scale = match divisor {
            _ if !change.as_ref().is_some_and(Change::is_scaled) => 1.0,
            // Without a low-rank factor there is nothing to divide by; LyCORIS then ignores alpha, PEFT has its r.
            None => 1.0,
            Some(rank) if rule.rank_stabilised => alpha / rank.sqrt(),
            Some(rank) => alpha / rank,
        };
        let scale = scale * scalar.unwrap_or(1.0);
        let rank = rank.unwrap_or(usize::from(change.is_some()));
        let product_norm = OnceLock::new();
        let layer = Self { change, diff, bias, is_norm, magnitude, product_norm, rank, alpha, scale };
        layer.shape()?;
        Ok(layer)
    }

    pub(super) fn kind(&self) -> Kind {
        match &self.change {
            Some(change) => change.kind(),
            None if self.is_norm => Kind::Norm,
            None => Kind::Full,
        }
    }

    pub(super) fn is_dora(&self) -> bool {
        self.magnitude.is_some()
    }

    /// Whether it is the change of a convolution that looks at more than one pixel.
    pub(super) fn is_spatial(&self) -> bool {
        let kernel = |factor: &Tensor| factor.dims().iter().skip(2).any(|size| *size > 1);
        matches!(&self.change, Some(Change::Lora { down, mid, .. }) if kernel(down) || mid.is_some())
    }

    /// Whether the weight changes, not the bias alone.
    pub(super) fn has_weight(&self) -> bool {
        self.change.is_some() || self.diff.is_some()
    }

    /// Every tensor as the file holds it, but for alpha and DoRA's m.
    pub(super) fn tensors(&self) -> Vec<(TensorRole, &Tensor)> {
        let mut tensors = self.change.as_ref().map(Change::tensors).unwrap_or_default();
        let (weight, bias) = match self.is_norm {
            true => (TensorRole::NormWeight, TensorRole::NormBias),
            false => (TensorRole::Diff, TensorRole::DiffBias),
        };
        tensors.extend(self.diff.iter().map(|diff| (weight, diff)));
        match &self.bias {
            Some(Bias::Diff(diff)) => tensors.push((bias, diff)),
            Some(Bias::Up(up)) => tensors.push((TensorRole::UpBias, up)),
            Some(Bias::Factor(_)) | None => {}
        }
        tensors
    }

    /// Whether alpha scales it or bounds it.
    pub(super) fn has_alpha(&self) -> bool {
        self.change.as_ref().is_some_and(|change| change.is_scaled() || change.constraint().is_some())
    }

    /// Whether LyCORIS would ignore its alpha: it has no low-rank factor.
    pub(super) fn ignores_alpha(&self) -> bool {
        matches!(&self.change, Some(Change::Lokr { first, second }) if first.rank().or(second.rank()).is_none())
    }

    /// DoRA's m, one number for each output; `Some(None)` when it is stored for each input.
    pub(super) fn output_magnitude(&self) -> Option<Option<&Tensor>> {
        let magnitude = self.magnitude.as_ref()?;
        let rows = self.shape().map_or(0, |(rows, _)| rows);
        let first = magnitude.dims().first().copied().unwrap_or(0);
        Some((first == rows && magnitude.elem_count() == rows).then_some(magnitude))
    }

    /// DoRA's m as it is stored, if the layer has one.
    pub(super) fn magnitude(&self) -> Option<&Tensor> {
        self.magnitude.as_ref()
    }

    /// The dimensions that the changed weight has at least: 4 for a convolution.
    pub(super) fn dims(&self) -> usize {
        match &self.change {
            Some(Change::Lora { down, .. }) => down.rank(),
            _ => 2,
        }
    }

    /// The alpha that says [`Self::scale`] as alpha / rank; of a rotation, its constraint.
    pub(super) fn plain_alpha(&self) -> f64 {
        if let Some(constraint) = self.change.as_ref().and_then(Change::constraint) {
            return constraint;
        }
        let rank = self.rank.max(1) as f64;
        let alpha = self.scale * rank;
        // The product is rounded; a neighbour may divide back to the very scale.
        [self.alpha, alpha, alpha.next_up(), alpha.next_down()]
            .into_iter()
            .find(|alpha| alpha / rank == self.scale)
            .unwrap_or(alpha)
    }

    /// Rows (outputs) and columns (inputs times kernel) of the weight it was made for; 0 where it does not say.
    pub(super) fn shape(&self) -> std::result::Result<(usize, usize), String> {
        let of_diff =
            |diff: &Tensor| (diff.dims().first().copied().unwrap_or(0), super::formulas::inner(diff));
        match (&self.change, &self.diff) {
            (Some(change), Some(diff)) => {
                let (change, diff) = (change.shape()?, of_diff(diff));
                if (change.0 > 0 && change.0 != diff.0) || (change.1 > 0 && change.1 != diff.1) {
                    return Err(format!("has factors for {change:?} and a difference of {diff:?}"));
                }
                Ok(diff)
            }
            (Some(change), None) => change.shape(),
            (None, Some(diff)) => Ok(of_diff(diff)),
            (None, None) => Ok((0, 0)),
        }
    }

    /// The shapes in the file where it cannot be added to a weight of these dimensions.
    pub(super) fn misfit(&self, dims: &[usize]) -> Option<String> {
        let change_fits = self.change.as_ref().is_none_or(|change| change.fits(dims));
        let diff_fits = self.diff.as_ref().is_none_or(|diff| {
            diff.dims() == dims
                || (diff.dims().first() == dims.first()
                    && diff.elem_count() == dims.iter().product::<usize>())
        });
        let magnitude_fits = self.magnitude.as_ref().is_none_or(|magnitude| {
            dims.len() >= 2 && (magnitude.elem_count() == dims[0] || per_input(magnitude, dims))
        });
        if change_fits && diff_fits && magnitude_fits {
            return None;
        }
        Some(match (&self.change, &self.diff, &self.magnitude) {
            (_, Some(diff), _) if !diff_fits => format!("{:?}", diff.dims()),
            (_, _, Some(magnitude)) if change_fits => format!("{:?} (its magnitude)", magnitude.dims()),
            (Some(change), ..) => change.shape_text(),
            _ => format!("{:?}", self.shape().unwrap_or_default()),
        })
    }

    /// The shape in the file where it cannot be added to a bias of these dimensions.
    pub(super) fn bias_misfit(&self, dims: &[usize]) -> Option<String> {
        let (Bias::Diff(tensor) | Bias::Up(tensor) | Bias::Factor(tensor)) = self.bias.as_ref()?;
        (tensor.elem_count() != dims.iter().product::<usize>()).then(|| format!("{:?}", tensor.dims()))
    }

    /// Whether the file stores something for the bias alone; (IA)³'s factors are for both.
    pub(super) fn stores_bias(&self) -> bool {
        matches!(self.bias, Some(Bias::Diff(_) | Bias::Up(_)))
    }

    /// The change of a weight whose pristine value is `base`, at `strength`, f32 on `base`'s device; `None` where only
    /// the bias changes.
    pub(super) fn delta(&self, base: &Tensor, strength: f64) -> Result<Option<Tensor>> {
        let change = self
            .change
            .as_ref()
            .map(|change| change.delta(base, self.scale, self.magnitude.as_ref(), strength));
        let diff = self.diff.as_ref().map(|diff| added(diff, base, strength));
        match (change.transpose()?, diff.transpose()?) {
            (Some(change), Some(diff)) => Ok(Some((change + diff)?)),
            (change, diff) => Ok(change.or(diff)),
        }
    }

    /// The factors of the change, down and up, if it is nothing else.
    pub(super) fn factors(&self) -> Option<(&Tensor, &Tensor)> {
        match (&self.change, &self.diff, &self.magnitude) {
            (Some(Change::Lora { down, up, mid: None }), None, None) => Some((down, up)),
            _ => None,
        }
    }

    /// Frobenius norm of up·down; the matrix itself is never made: ‖BA‖² = Σ (BᵀB) ∘ (AAᵀ).
    pub(super) fn product_norm(&self, down: &Tensor, up: &Tensor) -> Result<f64> {
        if let Some(known) = self.product_norm.get() {
            return Ok(*known);
        }
        let (down, up) =
            (float(down, &Device::Cpu)?.flatten_from(1)?, float(up, &Device::Cpu)?.flatten_from(1)?);
        let (down, up) = (down.to_dtype(DType::F64)?, up.to_dtype(DType::F64)?);
        let both = (down.matmul(&down.t()?)? * up.t()?.matmul(&up)?)?;
        let norm = both.sum_all()?.to_scalar::<f64>()?.max(0.0).sqrt();
        Ok(*self.product_norm.get_or_init(|| norm))
    }

    /// As [`Self::delta`], of the bias.
    pub(super) fn bias_delta(&self, base: &Tensor, strength: f64) -> Result<Option<Tensor>> {
        Ok(match &self.bias {
            None => None,
            Some(Bias::Diff(diff)) => Some(added(diff, base, strength)?),
            Some(Bias::Up(up)) => Some(added(up, base, self.scale * strength)?),
            Some(Bias::Factor(factor)) => {
                let factor = float(factor, base.device())?.reshape(base.dims())?.affine(1.0, -1.0)?;
                Some(((base.to_dtype(DType::F32)? * factor)? * strength)?)
            }
        })
    }
}

fn is_lokr(change: Option<&Change>) -> bool {
    matches!(change, Some(Change::Lokr { .. }))
}

fn float(tensor: &Tensor, device: &Device) -> Result<Tensor> {
    Ok(tensor.to_device(device)?.to_dtype(DType::F32)?)
}

fn added(diff: &Tensor, base: &Tensor, scale: f64) -> Result<Tensor> {
    Ok((float(diff, base.device())?.reshape(base.dims())? * scale)?)
}

/// The one number of a tensor that is `what`.
fn single(tensor: &Tensor, what: &str) -> std::result::Result<f64, String> {
    let read = || tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    match read().as_deref() {
        Ok([value]) => Ok(*value),
        _ => Err(format!("has an {what} of shape {:?}; one number is needed", tensor.dims())),
    }
}
