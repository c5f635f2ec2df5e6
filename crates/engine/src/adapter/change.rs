//! The kinds of change that are more than a difference: what their parts are, and what they make of a weight.

use candle_core::{DType, Device, Tensor};

use super::{
    formulas::{dora, glora, inner, kronecker, matrix, tucker},
    kind::{Kind, LayerTensors, ScaleRule},
    product::{Product, checked_rank, product},
    role::TensorRole,
    rotation::{Form, Rotation},
};
use crate::Result;

/// The change of one weight.
#[derive(Debug)]
pub(super) enum Change {
    /// ΔW = up · down, with `mid` between them for Tucker convolutions.
    Lora {
        down: Tensor,
        up: Tensor,
        mid: Option<Tensor>,
    },
    /// ΔW = first ⊙ second.
    Loha {
        first: Product,
        second: Product,
    },
    /// ΔW = first ⊗ second.
    Lokr {
        first: Product,
        second: Product,
    },
    /// W' = W·factor, for each input or each output; LyCORIS stores the factor less 1.
    Ia3 {
        factor: Tensor,
        on_input: bool,
        less_one: bool,
    },
    /// ΔW = W·a1·a2 + b1·b2.
    Glora {
        a1: Tensor,
        a2: Tensor,
        b1: Tensor,
        b2: Tensor,
        mid: Option<Tensor>,
        is_old: bool,
    },
    Rotation(Rotation),
}

/// A change with its rank, if it has one.
type Ranked = (Change, Option<usize>);

/// Takes one kind's parts out of `parts`; `None` where none is there. The error is a clause about the module.
pub(super) fn change(
    tensors: &mut LayerTensors,
    rule: &ScaleRule,
    alpha: Option<f64>,
) -> std::result::Result<Option<Ranked>, String> {
    let has = |tensors: &LayerTensors, any: &[TensorRole]| any.iter().any(|role| tensors.contains_key(role));
    if tensors.contains_key(&TensorRole::Down) || tensors.contains_key(&TensorRole::Up) {
        return lora(tensors).map(Some);
    }
    if tensors.contains_key(&TensorRole::Hada1A) {
        let mut take = |role| tensors.remove(&role);
        let first =
            product(None, take(TensorRole::Hada1A), take(TensorRole::Hada1B), take(TensorRole::HadaT1))?;
        let second =
            product(None, take(TensorRole::Hada2A), take(TensorRole::Hada2B), take(TensorRole::HadaT2))?;
        let rank = first.rank();
        return Ok(Some((Change::Loha { first, second }, rank)));
    }
    if has(tensors, &[TensorRole::Kron1, TensorRole::Kron1A, TensorRole::Kron2, TensorRole::Kron2A]) {
        let mut take = |role| tensors.remove(&role);
        let first =
            product(take(TensorRole::Kron1), take(TensorRole::Kron1A), take(TensorRole::Kron1B), None)?;
        let second = product(
            take(TensorRole::Kron2),
            take(TensorRole::Kron2A),
            take(TensorRole::Kron2B),
            take(TensorRole::KronT2),
        )?;
        let rank = second.rank().or(first.rank());
        return Ok(Some((Change::Lokr { first, second }, rank)));
    }
    if let Some(a1) = tensors.remove(&TensorRole::GloraA1) {
        return glora_of(a1, tensors).map(Some);
    }
    if let Some(change) = ia3(tensors, rule)? {
        return Ok(Some((change, None)));
    }
    let constraint = alpha.unwrap_or(0.0);
    let (blocks, form) = if let Some(blocks) = tensors.remove(&TensorRole::OftBlocks) {
        let is_butterfly = blocks.rank() == 4;
        (blocks, if is_butterfly { Form::Butterfly { constraint } } else { Form::Outputs { constraint } })
    } else if let Some(blocks) = tensors.remove(&TensorRole::OftDiag) {
        (blocks, Form::Rotations)
    } else if let Some(blocks) = tensors.remove(&TensorRole::OftInput) {
        (blocks, Form::Inputs(rule.oft))
    } else if let Some(blocks) = tensors.remove(&TensorRole::BoftInput) {
        (blocks, Form::ButterflyInputs)
    } else {
        return Ok(None);
    };
    let rescale = tensors.remove(&TensorRole::Rescale).or_else(|| tensors.remove(&TensorRole::BoftScale));
    let rotation = Rotation::new(blocks, rescale, form)?;
    let size = rotation.size();
    Ok(Some((Change::Rotation(rotation), Some(size))))
}

fn lora(tensors: &mut LayerTensors) -> std::result::Result<Ranked, String> {
    let mut take = |role| tensors.remove(&role);
    let down = take(TensorRole::Down).ok_or("lacks a factor: it has an up, but no down")?;
    let up = take(TensorRole::Up).ok_or("has a down factor but no up factor")?;
    let mid = take(TensorRole::Mid);
    let rank = checked_rank(&down)?;
    let up_rank = if up.rank() >= 2 { inner(&up) } else { 0 };
    if up_rank != rank {
        let (down, up) = (down.dims(), up.dims());
        return Err(format!("is mis-shaped: down {down:?} and up {up:?} do not share a rank"));
    }
    if let Some(mid) = &mid
        && (mid.rank() != 4
            || mid.dims()[0] != rank
            || mid.dims()[1] != rank
            || inner(&down) != down.dims()[1])
    {
        return Err(format!("is mis-shaped: mid {:?} between factors of rank {rank}", mid.dims()));
    }
    Ok((Change::Lora { down, up, mid }, Some(rank)))
}

fn ia3(tensors: &mut LayerTensors, rule: &ScaleRule) -> std::result::Result<Option<Change>, String> {
    if let Some(on_input) = tensors.remove(&TensorRole::OnInput) {
        let factor =
            tensors.remove(&TensorRole::Ia3).ok_or("lacks a factor: it has on_input, but no weight")?;
        let on_input = on_input.to_dtype(DType::F32).and_then(|t| t.flatten_all()?.to_vec1::<f32>());
        let on_input = on_input.is_ok_and(|values| values.iter().any(|value| *value != 0.0));
        return Ok(Some(Change::Ia3 { factor, on_input, less_one: true }));
    }
    let Some(factor) = tensors.remove(&TensorRole::Ia3Factor) else { return Ok(None) };
    let on_input = match factor.dims() {
        [1, inputs] => *inputs > 1,
        [1, channels, 1, 1] if *channels > 1 => rule.on_input,
        _ => false,
    };
    Ok(Some(Change::Ia3 { factor, on_input, less_one: false }))
}

fn glora_of(a1: Tensor, tensors: &mut LayerTensors) -> std::result::Result<Ranked, String> {
    let mut take = |role| tensors.remove(&role).ok_or("lacks a factor");
    let (a2, b1, b2) = (take(TensorRole::GloraA2)?, take(TensorRole::GloraB1)?, take(TensorRole::GloraB2)?);
    let mid = tensors.remove(&TensorRole::GloraMid);
    let outer = |factor: &Tensor| factor.dims().first().copied().unwrap_or(0);
    let shares = |rank: usize, ranks: [usize; 4]| ranks.iter().all(|other| *other == rank);
    let fits_new = shares(outer(&a2), [outer(&b2), inner(&b1), inner(&a1), outer(&a2)]);
    // LyCORIS before 2.0 has them the other way round. Those of a square weight fit both: the rank is the smaller size.
    let fits_old = shares(outer(&a1), [inner(&a2), outer(&b1), inner(&b2), outer(&a1)]);
    let is_old = fits_old && (!fits_new || outer(&a1) < outer(&a2));
    let is_new = fits_new && !is_old;
    if !is_new && !is_old {
        return Err(format!(
            "is mis-shaped: a1 {:?}, a2 {:?}, b1 {:?} and b2 {:?} do not share a rank",
            a1.dims(),
            a2.dims(),
            b1.dims(),
            b2.dims()
        ));
    }
    let rank = checked_rank(if is_new { &a2 } else { &a1 })?;
    if let Some(mid) = &mid
        && (mid.rank() != 4 || mid.dims()[..2] != [rank, rank] || is_old || inner(&b2) != b2.dims()[1])
    {
        return Err(format!("is mis-shaped: bm {:?} between factors of rank {rank}", mid.dims()));
    }
    Ok((Change::Glora { a1, a2, b1, b2, mid, is_old }, Some(rank)))
}

impl Change {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Lora { .. } => Kind::Lora,
            Self::Loha { .. } => Kind::Loha,
            Self::Lokr { .. } => Kind::Lokr,
            Self::Ia3 { .. } => Kind::Ia3,
            Self::Glora { .. } => Kind::Glora,
            Self::Rotation(Rotation { form: Form::Butterfly { .. } | Form::ButterflyInputs, .. }) => {
                Kind::Boft
            }
            Self::Rotation(_) => Kind::Oft,
        }
    }

    /// Whether alpha / rank scales it.
    pub(super) fn is_scaled(&self) -> bool {
        !matches!(self, Self::Ia3 { .. } | Self::Rotation(_))
    }

    /// What bounds a rotation.
    pub(super) fn constraint(&self) -> Option<f64> {
        match self {
            Self::Rotation(Rotation {
                form: Form::Outputs { constraint } | Form::Butterfly { constraint },
                ..
            }) => Some(*constraint),
            _ => None,
        }
    }

    /// Every tensor as the file holds it.
    pub(super) fn tensors(&self) -> Vec<(TensorRole, &Tensor)> {
        match self {
            Self::Lora { down, up, mid } => {
                let mid = mid.iter().map(|mid| (TensorRole::Mid, mid));
                [(TensorRole::Down, down), (TensorRole::Up, up)].into_iter().chain(mid).collect()
            }
            Self::Loha { first, second } => {
                let first = first.tensors(
                    TensorRole::Hada1A,
                    TensorRole::Hada1A,
                    TensorRole::Hada1B,
                    TensorRole::HadaT1,
                );
                let second = second.tensors(
                    TensorRole::Hada2A,
                    TensorRole::Hada2A,
                    TensorRole::Hada2B,
                    TensorRole::HadaT2,
                );
                first.into_iter().chain(second).collect()
            }
            Self::Lokr { first, second } => {
                // LyCORIS has no core for the first factor.
                let first = first.tensors(
                    TensorRole::Kron1,
                    TensorRole::Kron1A,
                    TensorRole::Kron1B,
                    TensorRole::KronT2,
                );
                let second = second.tensors(
                    TensorRole::Kron2,
                    TensorRole::Kron2A,
                    TensorRole::Kron2B,
                    TensorRole::KronT2,
                );
                first.into_iter().chain(second).collect()
            }
            Self::Ia3 { factor, less_one, .. } => {
                vec![(if *less_one { TensorRole::Ia3 } else { TensorRole::Ia3Factor }, factor)]
            }
            Self::Glora { a1, a2, b1, b2, mid, .. } => {
                let mid = mid.iter().map(|mid| (TensorRole::GloraMid, mid));
                let all = [
                    (TensorRole::GloraA1, a1),
                    (TensorRole::GloraA2, a2),
                    (TensorRole::GloraB1, b1),
                    (TensorRole::GloraB2, b2),
                ];
                all.into_iter().chain(mid).collect()
            }
            Self::Rotation(Rotation { blocks, rescale, form, .. }) => {
                let (blocks_part, scale_part) = match form {
                    Form::Outputs { .. } | Form::Butterfly { .. } => {
                        (TensorRole::OftBlocks, TensorRole::Rescale)
                    }
                    Form::Rotations => (TensorRole::OftDiag, TensorRole::Rescale),
                    Form::Inputs(_) => (TensorRole::OftInput, TensorRole::Rescale),
                    Form::ButterflyInputs => (TensorRole::BoftInput, TensorRole::BoftScale),
                };
                let rescale = rescale.iter().map(|rescale| (scale_part, rescale));
                [(blocks_part, blocks)].into_iter().chain(rescale).collect()
            }
        }
    }

    /// Rows and columns of the weight it was made for; 0 where it does not say.
    pub(super) fn shape(&self) -> std::result::Result<(usize, usize), String> {
        let shape = match self {
            Self::Lora { down, up, mid: None } => Some((up.dims()[0], inner(down))),
            Self::Lora { down, up, mid: Some(mid) } => down.dims()[1]
                .checked_mul(inner(mid) / mid.dims()[1].max(1))
                .map(|columns| (up.dims()[0], columns)),
            Self::Loha { first, second } => {
                let (first, second) = (first.shape(), second.shape());
                if first != second {
                    return Err(format!("multiplies matrices of shapes {first:?} and {second:?}"));
                }
                Some(first)
            }
            Self::Lokr { first, second } => {
                let ((a, b), (c, d)) = (first.shape(), second.shape());
                a.checked_mul(c).zip(b.checked_mul(d))
            }
            Self::Ia3 { factor, on_input: true, .. } => Some((0, factor.elem_count())),
            Self::Ia3 { factor, .. } => Some((factor.elem_count(), 0)),
            Self::Glora { b1, b2, mid: None, is_old: false, .. } => Some((b1.dims()[0], inner(b2))),
            Self::Glora { b1, b2, is_old: true, .. } => Some((b2.dims()[0], inner(b1))),
            Self::Glora { b1, b2, mid: Some(mid), .. } => b2.dims()[1]
                .checked_mul(inner(mid) / mid.dims()[1].max(1))
                .map(|columns| (b1.dims()[0], columns)),
            Self::Rotation(rotation) => Some(rotation.shape()),
        };
        shape.ok_or_else(|| "has impossible dimensions".to_owned())
    }

    /// What it was made for, for people.
    pub(super) fn shape_text(&self) -> String {
        match self {
            Self::Ia3 { factor, on_input, .. } => {
                let of = if *on_input { "inputs" } else { "outputs" };
                format!("{:?} for its {of}", factor.dims())
            }
            Self::Rotation(rotation) => format!("blocks of {:?}", rotation.blocks.dims()),
            _ => {
                let (rows, columns) = self.shape().unwrap_or_default();
                format!("[{rows}, {columns}]")
            }
        }
    }

    /// Whether it can change a weight of these dimensions.
    pub(super) fn fits(&self, dims: &[usize]) -> bool {
        let (rows, columns) = (dims.first().copied().unwrap_or(0), dims.iter().skip(1).product::<usize>());
        match self {
            Self::Rotation(rotation) => rotation.fits(dims),
            Self::Ia3 { factor, on_input, .. } => {
                dims.len() >= 2 && dims.get(usize::from(*on_input)) == Some(&factor.elem_count())
            }
            Self::Glora { a1, a2, is_old, .. } => {
                let (first, last) =
                    if *is_old { (inner(a1), a2.dims()[0]) } else { (a1.dims()[0], inner(a2)) };
                let inputs = if *is_old { Some(columns) } else { dims.get(1).copied() };
                dims.len() >= 2
                    && self.shape() == Ok((rows, columns))
                    && inputs == Some(first)
                    && inputs == Some(last)
            }
            Self::Lora { down, mid: None, .. } => {
                let same_kernel = match (down.dims(), dims) {
                    ([_, _, down_height, down_width], [_, _, height, width]) => {
                        (down_height, down_width) == (height, width)
                    }
                    _ => true,
                };
                same_kernel && self.shape() == Ok((rows, columns))
            }
            _ => self.shape() == Ok((rows, columns)),
        }
    }

    /// The change of a weight whose pristine value is `base`, f32 on its device. `magnitude` is DoRA's m.
    pub(super) fn delta(
        &self,
        base: &Tensor,
        scale: f64,
        magnitude: Option<&Tensor>,
        strength: f64,
    ) -> Result<Tensor> {
        let device = base.device();
        let raw = match self {
            Self::Lora { down, up, mid: None } => matrix(up, device)?.matmul(&matrix(down, device)?)?,
            Self::Lora { down, up, mid: Some(mid) } => {
                tucker(mid, &matrix(up, device)?.t()?, &matrix(down, device)?, device)?
            }
            Self::Loha { first, second } => (first.matrix(device)? * second.matrix(device)?)?,
            Self::Lokr { first, second } => kronecker(&first.matrix(device)?, &second.matrix(device)?)?,
            Self::Ia3 { factor, on_input, less_one } => ia3_delta(base, factor, *on_input, *less_one)?,
            Self::Glora { a1, a2, b1, b2, mid, is_old } => {
                let (b1, b2) = (matrix(b1, device)?, matrix(b2, device)?);
                let added = match mid {
                    Some(mid) => tucker(mid, &b1.t()?, &b2, device)?,
                    None if *is_old => b2.matmul(&b1)?,
                    None => b1.matmul(&b2)?,
                };
                let (a1, a2) = (matrix(a1, device)?, matrix(a2, device)?);
                let through = if *is_old { (&a2, &a1) } else { (&a1, &a2) };
                (glora(base, through.0, through.1, *is_old)? + added)?
            }
            Self::Rotation(rotation) => return rotation.delta(base, strength),
        };
        let delta = (raw.reshape(base.dims())? * scale)?;
        let delta = match magnitude {
            None => delta,
            Some(magnitude) => dora(&delta, magnitude, base)?,
        };
        Ok((delta * strength)?)
    }
}

/// W · (factor − 1), for each input or each output.
fn ia3_delta(base: &Tensor, factor: &Tensor, on_input: bool, less_one: bool) -> Result<Tensor> {
    let mut shape = vec![1; base.rank()];
    shape[usize::from(on_input)] = factor.elem_count();
    let factor = on(factor, base.device())?.reshape(shape)?;
    let change = if less_one { factor } else { factor.affine(1.0, -1.0)? };
    Ok(base.to_dtype(DType::F32)?.broadcast_mul(&change)?)
}

fn on(tensor: &Tensor, device: &Device) -> Result<Tensor> {
    Ok(tensor.to_device(device)?.to_dtype(DType::F32)?)
}
