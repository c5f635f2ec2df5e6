//! Matrices that LoHa and LoKr are made of: whole, or as two or three factors.

use candle_core::{Device, Tensor};

use super::{
    formulas::{inner, matrix, tucker},
    role::TensorRole,
};
use crate::Result;

/// Ranks above this belong to no adapter that anyone trains.
const MAX_RANK: usize = 8192;

/// A matrix that is stored whole or as factors.
#[derive(Debug)]
pub(super) enum Product {
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

impl Product {
    pub(super) fn shape(&self) -> (usize, usize) {
        match self {
            Self::Whole(whole) => (whole.dims()[0], inner(whole)),
            Self::Low { a, b } => (a.dims()[0], inner(b)),
            Self::Tucker { core, a, b } => {
                (inner(a), inner(b).saturating_mul(core.dims()[2] * core.dims()[3]))
            }
        }
    }

    pub(super) fn tensors(
        &self,
        whole: TensorRole,
        a: TensorRole,
        b: TensorRole,
        core: TensorRole,
    ) -> Vec<(TensorRole, &Tensor)> {
        match self {
            Self::Whole(tensor) => vec![(whole, tensor)],
            Self::Low { a: left, b: right } => vec![(a, left), (b, right)],
            Self::Tucker { core: tensor, a: left, b: right } => vec![(core, tensor), (a, left), (b, right)],
        }
    }

    pub(super) fn rank(&self) -> Option<usize> {
        match self {
            Self::Whole(_) => None,
            Self::Low { b, .. } | Self::Tucker { b, .. } => Some(b.dims()[0]),
        }
    }

    pub(super) fn matrix(&self, device: &Device) -> Result<Tensor> {
        match self {
            Self::Whole(whole) => matrix(whole, device),
            Self::Low { a, b } => Ok(matrix(a, device)?.matmul(&matrix(b, device)?)?),
            Self::Tucker { core, a, b } => tucker(core, &matrix(a, device)?, &matrix(b, device)?, device),
        }
    }
}

/// The parts of one matrix put together; the error is a clause.
pub(super) fn product(
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
pub(super) fn checked_rank(factor: &Tensor) -> std::result::Result<usize, String> {
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
