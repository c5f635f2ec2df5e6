//! Rotations of a weight's outputs or inputs: OFT (Qiu et al. 2023) and BOFT (Liu et al. 2023), as diagonal blocks.
//!
//! LyCORIS and kohya rotate outputs, PEFT rotates inputs. Stored are generators q, of which the antisymmetric part makes
//! the rotation by Cayley's transform, or (LyCORIS 2.0) the rotations themselves.

use candle_core::{DType, Device, Tensor};

use super::formulas::inner;
use crate::Result;

/// Largest block; inverting one costs its cube.
const MAX_BLOCK: usize = 2048;

/// Most stages of a butterfly; each doubles its width.
const MAX_STAGES: usize = 32;

/// What PEFT's `OFTConfig` says beside the tensors.
#[derive(Clone, Copy, Debug)]
pub(super) struct OftRule {
    /// Terms of Neumann's series that stand for the inverse; `None`: the inverse itself.
    pub(super) neumann: Option<usize>,
    /// Constrained OFT's ε.
    pub(super) eps: Option<f64>,
    /// One block for all.
    pub(super) is_shared: bool,
}

impl Default for OftRule {
    fn default() -> Self {
        Self { neumann: Some(5), eps: None, is_shared: false }
    }
}

/// How the blocks are to be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// [blocks, size, size]; with a bound on the norm of all generators, for each output; 0: none.
    Outputs { constraint: f64 },
    /// [blocks, size, size]: rotations.
    Rotations,
    /// [stages, blocks, size, size].
    Butterfly { constraint: f64 },
    /// [blocks, size·(size − 1)/2], PEFT's.
    Inputs(OftRule),
    /// [stages, blocks, size, size], PEFT's.
    ButterflyInputs,
}

/// W' = R·W or W·R, then every output multiplied.
#[derive(Debug)]
pub(super) struct Rotation {
    pub(super) blocks: Tensor,
    pub(super) rescale: Option<Tensor>,
    pub(super) form: Form,
    stages: usize,
    count: usize,
    size: usize,
}

impl Rotation {
    /// Checks the blocks' shape; the error is a clause.
    pub(super) fn new(
        blocks: Tensor,
        rescale: Option<Tensor>,
        form: Form,
    ) -> std::result::Result<Self, String> {
        let found = match (form, blocks.dims()) {
            (Form::Outputs { .. } | Form::Rotations, [count, size, other]) if size == other => {
                Some((1, *count, *size))
            }
            (Form::Butterfly { .. } | Form::ButterflyInputs, [stages, count, size, other])
                if size == other && (size % 2 == 0 || *stages == 1) =>
            {
                Some((*stages, *count, *size))
            }
            (Form::Inputs(_), [count, triangle]) => {
                let size = (1.0 + (1.0 + 8.0 * *triangle as f64).sqrt()) / 2.0;
                let size = size.round() as usize;
                (size.checked_mul(size.saturating_sub(1)) == Some(2 * triangle)).then_some((1, *count, size))
            }
            _ => None,
        };
        match found {
            Some((stages, count, size))
                if (1..=MAX_STAGES).contains(&stages) && count > 0 && (1..=MAX_BLOCK).contains(&size) =>
            {
                Ok(Self { blocks, rescale, form, stages, count, size })
            }
            _ => Err(format!("is mis-shaped: blocks of a rotation as {:?}", blocks.dims())),
        }
    }

    /// Size of a block.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Outputs and inputs (times kernel) that it rotates; 0 where it does not say.
    pub(super) fn shape(&self) -> (usize, usize) {
        let rotated = self.count.saturating_mul(self.size);
        match self.form {
            Form::Inputs(OftRule { is_shared: true, .. }) => (0, 0),
            Form::Inputs(_) | Form::ButterflyInputs => (0, rotated),
            _ => (rotated, 0),
        }
    }

    pub(super) fn fits(&self, dims: &[usize]) -> bool {
        let (Some(rows), columns) = (dims.first(), dims.iter().skip(1).product::<usize>()) else {
            return false;
        };
        let rotated = match self.form {
            Form::Inputs(_) | Form::ButterflyInputs => columns,
            _ => *rows,
        };
        let blocks_fit = match self.form {
            Form::Inputs(OftRule { is_shared: true, .. }) => rotated.is_multiple_of(self.size),
            _ => self.count.checked_mul(self.size) == Some(rotated),
        };
        // The last stage mixes pairs of rows that lie this far apart.
        let widest = 1usize.checked_shl(self.stages as u32 - 1).and_then(|n| n.checked_mul(self.size));
        let stages_fit = self.stages == 1 || widest.is_some_and(|widest| rotated.is_multiple_of(widest));
        let rescale_fits = self.rescale.as_ref().is_none_or(|rescale| rescale.elem_count() == *rows);
        dims.len() >= 2 && blocks_fit && stages_fit && rescale_fits
    }

    /// The change of `base` at `strength`, f32. Rotations are interpolated to the identity (BOFT's stage by stage, as in
    /// LyCORIS), and what outputs are multiplied with to 1.
    pub(super) fn delta(&self, base: &Tensor, strength: f64) -> Result<Tensor> {
        let weight = base.to_dtype(DType::F32)?.flatten_from(1)?;
        let (rows, columns) = weight.dims2()?;
        let rotations = self.rotations(rows, base.device())?;
        let (count, size) = (self.count, self.size);
        let delta = match self.form {
            Form::Outputs { .. } | Form::Rotations => {
                let change = less_identity(&rotations.squeeze(0)?, size)?;
                let blocks = weight.reshape((count, size, columns))?;
                let turned = change.transpose(1, 2)?.contiguous()?.matmul(&blocks)?;
                (turned.reshape((rows, columns))? * strength)?
            }
            Form::Butterfly { .. } => (self.butterfly(&weight, &rotations, strength)? - &weight)?,
            Form::Inputs(rule) => {
                let count = if rule.is_shared { columns / size } else { count };
                let change = less_identity(&rotations.squeeze(0)?, size)?.transpose(1, 2)?;
                let change = change.broadcast_as((count, size, size))?.contiguous()?;
                let blocks = weight.reshape((rows, count, size))?.transpose(0, 1)?.contiguous()?;
                let turned = blocks.matmul(&change)?.transpose(0, 1)?.contiguous()?;
                (turned.reshape((rows, columns))? * strength)?
            }
            Form::ButterflyInputs => ((self.butterfly_inputs(&weight, &rotations)? - &weight)? * strength)?,
        };
        let delta = match &self.rescale {
            None => delta,
            Some(rescale) => {
                let rescale = rescale.to_device(base.device())?.to_dtype(DType::F32)?.reshape((rows, 1))?;
                let rescale = rescale.affine(strength, 1.0 - strength)?;
                let less_one = rescale.affine(1.0, -1.0)?;
                (delta.broadcast_mul(&rescale)? + weight.broadcast_mul(&less_one)?)?
            }
        };
        Ok(delta.reshape(base.dims())?)
    }

    /// [stages, blocks, size, size], f32; computed in f64.
    fn rotations(&self, outputs: usize, device: &Device) -> Result<Tensor> {
        let stored: Vec<f64> = self.blocks.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        let (size, square) = (self.size, self.size * self.size);
        let mut generators = match self.form {
            Form::Rotations => {
                let shape = (1, self.count, size, size);
                return Ok(self.blocks.to_device(device)?.to_dtype(DType::F32)?.reshape(shape)?);
            }
            Form::Inputs(_) => stored.chunks(inner(&self.blocks)).flat_map(|half| skew(half, size)).collect(),
            _ => antisymmetric(&stored, size),
        };
        let scale = |values: &mut [f64], by: f64| values.iter_mut().for_each(|value| *value *= by);
        match self.form {
            Form::Outputs { constraint } | Form::Butterfly { constraint } => {
                let (norm, bound) = (norm(&generators) + 1e-8, constraint * outputs as f64);
                if bound > 0.0 && norm > bound {
                    scale(&mut generators, bound / norm);
                }
            }
            Form::Inputs(OftRule { eps: Some(eps), .. }) => {
                let eps = eps / (self.count as f64).sqrt();
                for block in generators.chunks_mut(square) {
                    let norm = norm(block);
                    if norm > eps {
                        scale(block, eps / norm);
                    }
                }
            }
            Form::ButterflyInputs => scale(&mut generators, -0.5),
            Form::Inputs(_) | Form::Rotations => {}
        }
        // PEFT's inverse and its series turn in opposite directions.
        if matches!(self.form, Form::Inputs(OftRule { neumann: None, .. })) {
            scale(&mut generators, -1.0);
        }
        let mut rotations = Vec::with_capacity(generators.len());
        for block in generators.chunks(square) {
            let rotation = match self.form {
                Form::Inputs(OftRule { neumann: Some(terms), .. }) => series(block, size, terms),
                _ => cayley(block, size),
            };
            rotations.extend(rotation.into_iter().map(|value| value as f32));
        }
        Ok(Tensor::from_vec(rotations, (self.stages, self.count, size, size), device)?)
    }

    /// Stage i mixes rows within 2ⁱ blocks.
    fn butterfly(&self, weight: &Tensor, rotations: &Tensor, strength: f64) -> Result<Tensor> {
        let ((rows, columns), (count, size)) = (weight.dims2()?, (self.count, self.size));
        let mut turned = weight.clone();
        for stage in 0..self.stages {
            let rotation = (less_identity(&rotations.get(stage)?, size)? * strength)?;
            // A single stage of an odd size has no pairs to take apart.
            let apart = if size % 2 == 0 { (1usize << stage) * (size / 2) } else { 1 };
            let groups = rows / (2 * apart).max(1);
            let is_paired = size % 2 == 0;
            let paired = if is_paired {
                turned.reshape((groups, 2, apart, columns))?.transpose(1, 2)?.contiguous()?
            } else {
                turned.clone()
            };
            let blocks = paired.reshape((count, size, columns))?;
            let mixed = (rotation.contiguous()?.matmul(&blocks)? + &blocks)?;
            turned = if is_paired {
                let mixed = mixed.reshape((groups, apart, 2, columns))?;
                mixed.transpose(1, 2)?.contiguous()?.reshape((rows, columns))?
            } else {
                mixed.reshape((rows, columns))?
            };
        }
        Ok(turned)
    }

    /// W·Mᵀ, M the product of PEFT's stages, each a permutation around blocks.
    fn butterfly_inputs(&self, weight: &Tensor, rotations: &Tensor) -> Result<Tensor> {
        let ((rows, columns), (count, size)) = (weight.dims2()?, (self.count, self.size));
        let mut turned = weight.t()?.contiguous()?;
        for stage in 0..self.stages {
            let order = if self.stages == 1 { None } else { Some(permutation(columns, size, stage)) };
            let index = |order: &[u32]| Tensor::new(order, weight.device());
            let mut x = turned;
            if let Some(order) = &order {
                let mut inverse = vec![0; columns];
                for (to, from) in order.iter().enumerate() {
                    inverse[*from as usize] = to as u32;
                }
                x = x.index_select(&index(&inverse)?, 0)?;
            }
            let blocks = x.reshape((count, size, rows))?;
            x = rotations.get(stage)?.contiguous()?.matmul(&blocks)?.reshape((columns, rows))?;
            if let Some(order) = &order {
                x = x.index_select(&index(order)?, 0)?;
            }
            turned = x;
        }
        Ok(turned.t()?.contiguous()?)
    }
}

/// Half blocks of every group of 2^(stage + 1), the even ones before the odd ones.
fn permutation(columns: usize, size: usize, stage: usize) -> Vec<u32> {
    let (half, group) = ((size / 2).max(1), (size << stage).max(1));
    let halves = group / half;
    let order = (0..halves).step_by(2).chain((1..halves).step_by(2));
    let within: Vec<usize> = order.flat_map(|at| at * half..(at + 1) * half).collect();
    (0..columns).step_by(group).flat_map(|begin| within.iter().map(move |at| (begin + at) as u32)).collect()
}

fn less_identity(rotations: &Tensor, size: usize) -> Result<Tensor> {
    Ok(rotations.broadcast_sub(&Tensor::eye(size, DType::F32, rotations.device())?)?)
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// q − qᵀ of every block.
fn antisymmetric(blocks: &[f64], size: usize) -> Vec<f64> {
    let of = |block: &[f64]| -> Vec<f64> {
        (0..size * size).map(|at| block[at] - block[at % size * size + at / size]).collect()
    };
    blocks.chunks_exact(size * size).flat_map(of).collect()
}

/// The antisymmetric matrix with this upper triangle, row by row.
fn skew(triangle: &[f64], size: usize) -> Vec<f64> {
    let mut block = vec![0.0; size * size];
    let places = (0..size).flat_map(|row| (row + 1..size).map(move |column| (row, column)));
    for ((row, column), value) in places.zip(triangle) {
        block[row * size + column] = *value;
        block[column * size + row] = -value;
    }
    block
}

/// (I + q)·(I − q)⁻¹, for antisymmetric q: always invertible.
fn cayley(q: &[f64], size: usize) -> Vec<f64> {
    let identity = |at: usize| if at / size == at % size { 1.0 } else { 0.0 };
    let mut left: Vec<f64> = q.iter().enumerate().map(|(at, value)| identity(at) - value).collect();
    // The two factors commute, so this solves (I − q)·R = I + q.
    let mut right: Vec<f64> = q.iter().enumerate().map(|(at, value)| identity(at) + value).collect();
    for column in 0..size {
        let size_of = |row: usize| left[row * size + column].abs();
        let pivot = (column..size).max_by(|a, b| size_of(*a).total_cmp(&size_of(*b))).unwrap_or(column);
        if pivot != column {
            for at in 0..size {
                left.swap(pivot * size + at, column * size + at);
                right.swap(pivot * size + at, column * size + at);
            }
        }
        let diagonal = left[column * size + column];
        let (pivot_left, pivot_right): (Vec<f64>, Vec<f64>) = (
            left[column * size..(column + 1) * size].iter().map(|value| value / diagonal).collect(),
            right[column * size..(column + 1) * size].iter().map(|value| value / diagonal).collect(),
        );
        for row in 0..size {
            let (l, r) = (row * size..(row + 1) * size, row * size..(row + 1) * size);
            if row == column {
                left[l].copy_from_slice(&pivot_left);
                right[r].copy_from_slice(&pivot_right);
                continue;
            }
            let factor = left[row * size + column];
            if factor != 0.0 {
                left[l].iter_mut().zip(&pivot_left).for_each(|(value, pivot)| *value -= factor * pivot);
                right[r].iter_mut().zip(&pivot_right).for_each(|(value, pivot)| *value -= factor * pivot);
            }
        }
    }
    right
}

/// PEFT's I + 2q + 2q² + … + qⁿ⁻¹.
fn series(q: &[f64], size: usize, terms: usize) -> Vec<f64> {
    let product = |a: &[f64]| -> Vec<f64> {
        let at =
            |place: usize| (0..size).map(|i| a[place / size * size + i] * q[i * size + place % size]).sum();
        (0..size * size).map(at).collect()
    };
    let mut sum: Vec<f64> =
        (0..size * size).map(|at| if at / size == at % size { 1.0 } else { 0.0 }).collect();
    let mut add =
        |power: &[f64], by: f64| sum.iter_mut().zip(power).for_each(|(sum, power)| *sum += by * power);
    if terms > 1 {
        add(q, 2.0);
    }
    if terms > 2 {
        let mut power = product(q);
        add(&power, 2.0);
        // So many are exact in any dtype; more come from no program.
        for _ in 3..terms.min(64) - 1 {
            power = product(&power);
            add(&power, 2.0);
        }
        power = product(&power);
        add(&power, 1.0);
    }
    sum
}
