//! What an adapter adds to one weight.
//!
//! Formulas: LoRA (Hu et al. 2021), LoCon, LoHa and LoKr as in LyCORIS (Yeh et al. 2023), DoRA (Liu et al. 2024).
//! All in f32, from the pristine base.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use serde::Serialize;

use super::{
    formulas::{dora, inner, kronecker, matrix, per_input, tucker},
    keys::Part,
};
use crate::Result;

/// Ranks above this belong to no adapter that anyone trains.
const MAX_RANK: usize = 8192;

/// How a layer's change is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Two factors, B·A.
    Lora,
    /// Hadamard product of two low-rank matrices.
    Loha,
    /// Kronecker product.
    Lokr,
}

impl Kind {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lora => "lora",
            Self::Loha => "loha",
            Self::Lokr => "lokr",
        }
    }
}

/// The parts that a file holds for one module.
pub(super) type Parts = BTreeMap<Part, Tensor>;

/// One module's change, checked for consistency within itself.
#[derive(Debug)]
pub(super) struct Layer {
    factors: Factors,
    magnitude: Option<Tensor>,
    pub(super) rank: usize,
    /// As stored, or the rank where nothing is stored.
    pub(super) alpha: f64,
    /// alpha / rank, or what the format's own rule makes of it.
    pub(super) scale: f64,
}

#[derive(Debug)]
enum Factors {
    /// ΔW = up · down, with `mid` between them for Tucker convolutions.
    Lora { down: Tensor, up: Tensor, mid: Option<Tensor> },
    /// ΔW = first ⊙ second.
    Loha { first: Product, second: Product },
    /// ΔW = first ⊗ second.
    Lokr { first: Product, second: Product },
}

/// A matrix that is stored whole or as factors.
#[derive(Debug)]
enum Product {
    Whole(Tensor),
    /// a [out, r] · b [r, in].
    Low {
        a: Tensor,
        b: Tensor,
    },
    /// core [r, r, kh, kw] with a [r, out] and b [r, in].
    Tucker {
        core: Tensor,
        a: Tensor,
        b: Tensor,
    },
}

/// How alpha is turned into a scale, where the file's metadata says something beside the tensors.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ScaleRule {
    /// Alpha for layers that store none.
    pub(super) alpha: Option<f64>,
    /// rsLoRA as PEFT has it: alpha / √rank.
    pub(super) rank_stabilised: bool,
}

impl Layer {
    /// Puts the parts of one module together; the error is a sentence that begins after the module's name.
    pub(super) fn new(mut parts: Parts, rule: ScaleRule) -> std::result::Result<Self, String> {
        let stored_alpha = parts.remove(&Part::Alpha).map(|alpha| single(&alpha)).transpose()?;
        // PEFT has one m for each output, stored for convolutions as [1, out, 1, 1]; LyCORIS' shape tells.
        let per_output = parts.remove(&Part::Magnitude).map(|m| m.flatten_all()).transpose();
        let magnitude = per_output.map_err(|error| error.to_string())?.or(parts.remove(&Part::DoraScale));
        let (factors, rank) = factors(&mut parts)?;
        if let Some(part) = parts.keys().next() {
            return Err(format!("has a part too many ({part:?})"));
        }
        let rank_for_scale = rank.unwrap_or(1);
        // Trainers that store no alpha, or 0, mean alpha = rank.
        let alpha =
            stored_alpha.or(rule.alpha).filter(|alpha| *alpha != 0.0).unwrap_or(rank_for_scale as f64);
        let scale = match rank {
            // Without a low-rank factor there is nothing to divide by; LyCORIS then ignores alpha.
            None => 1.0,
            Some(rank) if rule.rank_stabilised => alpha / (rank as f64).sqrt(),
            Some(rank) => alpha / rank as f64,
        };
        let layer = Self { factors, magnitude, rank: rank_for_scale, alpha, scale };
        layer.shape()?;
        Ok(layer)
    }

    pub(super) fn kind(&self) -> Kind {
        match &self.factors {
            Factors::Lora { .. } => Kind::Lora,
            Factors::Loha { .. } => Kind::Loha,
            Factors::Lokr { .. } => Kind::Lokr,
        }
    }

    pub(super) fn is_dora(&self) -> bool {
        self.magnitude.is_some()
    }

    /// Whether it is the change of a convolution that looks at more than one pixel.
    pub(super) fn is_spatial(&self) -> bool {
        let kernel = |factor: &Tensor| factor.dims().iter().skip(2).any(|size| *size > 1);
        matches!(&self.factors, Factors::Lora { down, mid, .. } if kernel(down) || mid.is_some())
    }

    /// Every factor as the file holds it.
    pub(super) fn parts(&self) -> Vec<(Part, &Tensor)> {
        match &self.factors {
            Factors::Lora { down, up, mid } => {
                let mid = mid.iter().map(|mid| (Part::Mid, mid));
                [(Part::Down, down), (Part::Up, up)].into_iter().chain(mid).collect()
            }
            Factors::Loha { first, second } => {
                let first = first.parts(Part::Hada1A, Part::Hada1A, Part::Hada1B, Part::HadaT1);
                let second = second.parts(Part::Hada2A, Part::Hada2A, Part::Hada2B, Part::HadaT2);
                first.into_iter().chain(second).collect()
            }
            Factors::Lokr { first, second } => {
                // LyCORIS has no core for the first factor.
                let first = first.parts(Part::Kron1, Part::Kron1A, Part::Kron1B, Part::KronT2);
                let second = second.parts(Part::Kron2, Part::Kron2A, Part::Kron2B, Part::KronT2);
                first.into_iter().chain(second).collect()
            }
        }
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
        match &self.factors {
            Factors::Lora { down, .. } => down.rank(),
            _ => 2,
        }
    }

    /// The alpha that says [`Self::scale`] as alpha / rank.
    pub(super) fn plain_alpha(&self) -> f64 {
        let rank = self.rank as f64;
        let alpha = self.scale * rank;
        // The product is rounded; a neighbour may divide back to the very scale.
        [self.alpha, alpha, alpha.next_up(), alpha.next_down()]
            .into_iter()
            .find(|alpha| alpha / rank == self.scale)
            .unwrap_or(alpha)
    }

    /// Rows (outputs) and columns (inputs times kernel) of the weight it was made for.
    pub(super) fn shape(&self) -> std::result::Result<(usize, usize), String> {
        let shape = match &self.factors {
            Factors::Lora { down, up, mid: None } => Some((up.dims()[0], inner(down))),
            Factors::Lora { down, up, mid: Some(mid) } => down.dims()[1]
                .checked_mul(inner(mid) / mid.dims()[1].max(1))
                .map(|columns| (up.dims()[0], columns)),
            Factors::Loha { first, second } => {
                let (first, second) = (first.shape(), second.shape());
                if first != second {
                    return Err(format!("multiplies matrices of shapes {first:?} and {second:?}"));
                }
                Some(first)
            }
            Factors::Lokr { first, second } => {
                let ((a, b), (c, d)) = (first.shape(), second.shape());
                a.checked_mul(c).zip(b.checked_mul(d))
            }
        };
        shape.ok_or_else(|| "has impossible dimensions".to_owned())
    }

    /// Whether it can be added to a weight of these dimensions.
    pub(super) fn fits(&self, dims: &[usize]) -> bool {
        let columns: usize = dims.iter().skip(1).product();
        let same_kernel = match &self.factors {
            Factors::Lora { down, mid: None, .. } => match (down.dims(), dims) {
                ([_, _, down_height, down_width], [_, _, height, width]) => {
                    (down_height, down_width) == (height, width)
                }
                _ => true,
            },
            _ => true,
        };
        let magnitude_fits = self.magnitude.as_ref().is_none_or(|magnitude| {
            dims.len() >= 2 && (magnitude.elem_count() == dims[0] || per_input(magnitude, dims))
        });
        same_kernel && magnitude_fits && self.shape() == Ok((dims.first().copied().unwrap_or(0), columns))
    }

    /// The change of a weight whose pristine value is `base`, at strength 1, f32 on `base`'s device.
    pub(super) fn delta(&self, base: &Tensor) -> Result<Tensor> {
        let device = base.device();
        let raw = match &self.factors {
            Factors::Lora { down, up, mid: None } => matrix(up, device)?.matmul(&matrix(down, device)?)?,
            Factors::Lora { down, up, mid: Some(mid) } => {
                tucker(mid, &matrix(up, device)?.t()?, &matrix(down, device)?, device)?
            }
            Factors::Loha { first, second } => (first.matrix(device)? * second.matrix(device)?)?,
            Factors::Lokr { first, second } => kronecker(&first.matrix(device)?, &second.matrix(device)?)?,
        };
        let delta = (raw.reshape(base.dims())? * self.scale)?;
        match &self.magnitude {
            None => Ok(delta),
            Some(magnitude) => dora(&delta, magnitude, base),
        }
    }
}

impl Product {
    fn shape(&self) -> (usize, usize) {
        match self {
            Self::Whole(whole) => (whole.dims()[0], inner(whole)),
            Self::Low { a, b } => (a.dims()[0], inner(b)),
            Self::Tucker { core, a, b } => {
                (inner(a), inner(b).saturating_mul(core.dims()[2] * core.dims()[3]))
            }
        }
    }

    fn parts(&self, whole: Part, a: Part, b: Part, core: Part) -> Vec<(Part, &Tensor)> {
        match self {
            Self::Whole(tensor) => vec![(whole, tensor)],
            Self::Low { a: left, b: right } => vec![(a, left), (b, right)],
            Self::Tucker { core: tensor, a: left, b: right } => vec![(core, tensor), (a, left), (b, right)],
        }
    }

    fn rank(&self) -> Option<usize> {
        match self {
            Self::Whole(_) => None,
            Self::Low { b, .. } | Self::Tucker { b, .. } => Some(b.dims()[0]),
        }
    }

    fn matrix(&self, device: &Device) -> Result<Tensor> {
        match self {
            Self::Whole(whole) => matrix(whole, device),
            Self::Low { a, b } => Ok(matrix(a, device)?.matmul(&matrix(b, device)?)?),
            Self::Tucker { core, a, b } => tucker(core, &matrix(a, device)?, &matrix(b, device)?, device),
        }
    }
}

fn factors(parts: &mut Parts) -> std::result::Result<(Factors, Option<usize>), String> {
    let mut take = |part| parts.remove(&part);
    if let Some(down) = take(Part::Down) {
        let up = take(Part::Up).ok_or("has a down factor but no up factor")?;
        let mid = take(Part::Mid);
        let rank = checked_rank(&down)?;
        let up_rank = if up.rank() >= 2 { inner(&up) } else { 0 };
        if up_rank != rank {
            return Err(format!(
                "is mis-shaped: down {:?} and up {:?} do not share a rank",
                down.dims(),
                up.dims()
            ));
        }
        if let Some(mid) = &mid
            && (mid.rank() != 4
                || mid.dims()[0] != rank
                || mid.dims()[1] != rank
                || inner(&down) != down.dims()[1])
        {
            return Err(format!("is mis-shaped: mid {:?} between factors of rank {rank}", mid.dims()));
        }
        return Ok((Factors::Lora { down, up, mid }, Some(rank)));
    }
    if let Some(a) = take(Part::Hada1A) {
        let first = product(None, Some(a), take(Part::Hada1B), take(Part::HadaT1))?;
        let second = product(None, take(Part::Hada2A), take(Part::Hada2B), take(Part::HadaT2))?;
        let rank = first.rank();
        return Ok((Factors::Loha { first, second }, rank));
    }
    let first = product(take(Part::Kron1), take(Part::Kron1A), take(Part::Kron1B), None);
    let second = product(take(Part::Kron2), take(Part::Kron2A), take(Part::Kron2B), take(Part::KronT2));
    match (first, second) {
        (Ok(first), Ok(second)) => {
            let rank = second.rank().or(first.rank());
            Ok((Factors::Lokr { first, second }, rank))
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

fn product(
    whole: Option<Tensor>,
    a: Option<Tensor>,
    b: Option<Tensor>,
    core: Option<Tensor>,
) -> std::result::Result<Product, String> {
    match (whole, a, b, core) {
        (Some(whole), None, None, None) if whole.rank() >= 2 && whole.elem_count() > 0 => {
            Ok(Product::Whole(whole))
        }
        (None, Some(a), Some(b), None) => {
            let rank = checked_rank(&b)?;
            if a.rank() < 2 || inner(&a) != rank {
                return Err(format!("is mis-shaped: {:?} times {:?}", a.dims(), b.dims()));
            }
            Ok(Product::Low { a, b })
        }
        (None, Some(a), Some(b), Some(core)) => {
            let rank = checked_rank(&b)?;
            let fits = core.rank() == 4
                && core.dims()[..2] == [rank, rank]
                && a.rank() == 2
                && b.rank() == 2
                && a.dims()[0] == rank;
            if !fits {
                return Err(format!(
                    "is mis-shaped: core {:?} with {:?} and {:?}",
                    core.dims(),
                    a.dims(),
                    b.dims()
                ));
            }
            Ok(Product::Tucker { core, a, b })
        }
        _ => Err("lacks a factor".to_owned()),
    }
}

/// The rank of a factor [rank, …].
fn checked_rank(factor: &Tensor) -> std::result::Result<usize, String> {
    let dims = factor.dims();
    match dims.first() {
        Some(rank) if dims.len() >= 2 && (1..=MAX_RANK).contains(rank) && factor.elem_count() > 0 => {
            Ok(*rank)
        }
        Some(rank) if *rank > MAX_RANK => Err(format!("has rank {rank}; at most {MAX_RANK} is taken")),
        _ => Err(format!(
            "has a factor of shape {dims:?}; [rank, inputs] or [rank, inputs, height, width] is needed"
        )),
    }
}

fn single(alpha: &Tensor) -> std::result::Result<f64, String> {
    let read = || alpha.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    match read().as_deref() {
        Ok([alpha]) => Ok(*alpha),
        _ => Err(format!("has an alpha of shape {:?}; one number is needed", alpha.dims())),
    }
}
