//! A model's weights as a plan's arithmetic wants them.

use std::collections::HashMap;

use candle_core::{Tensor, TensorId};
use rayon::prelude::*;

use super::{
    op::{MatrixSpec, Plan, VectorSpec},
    run::Arithmetic,
};
use crate::{EngineError, Parameter, ParameterVisitor, Result, ops::floats};

/// Effective weights by module and kind.
pub(super) type Weights = HashMap<(String, Parameter), Tensor>;

/// What `visit` shows. `None` where there is a change in training beside a weight: only the modules compute with that.
pub(super) fn weights(
    visit: &mut dyn FnMut(&mut ParameterVisitor<'_>) -> Result<()>,
) -> Result<Option<Weights>> {
    let (mut weights, mut trained) = (Weights::new(), false);
    visit(&mut |path, parameter, weight| {
        trained |= weight.low_rank().is_some();
        weights.insert((path.to_owned(), parameter), weight.effective().clone());
        Ok(())
    })?;
    Ok((!trained).then_some(weights))
}

/// Packed matrices and vectors, in the order of a plan's specs.
#[derive(Debug)]
pub(super) struct Parameters<A: Arithmetic> {
    matrices: Vec<(Vec<TensorId>, A::Matrix)>,
    vectors: Vec<(Vec<TensorId>, Vec<f32>)>,
}

impl<A: Arithmetic + Sync> Parameters<A>
where
    A::Matrix: Send,
{
    /// Packs every weight that `plan` names.
    pub(super) fn new(plan: &Plan, arithmetic: &A, weights: &Weights) -> Result<Self> {
        let matrices = plan.matrices.par_iter().map(|spec| matrix(spec, arithmetic, weights));
        let vectors = plan.vectors.iter().map(|spec| vector(spec, weights));
        Ok(Self { matrices: matrices.collect::<Result<_>>()?, vectors: vectors.collect::<Result<_>>()? })
    }

    /// Packs again what has changed since, and says whether anything has.
    pub(super) fn update(&mut self, plan: &Plan, arithmetic: &A, weights: &Weights) -> Result<bool> {
        let changed = self.matrices.par_iter_mut().zip(&plan.matrices).map(|(known, spec)| {
            let changed = known.0 != ids(spec_keys(spec), weights)?;
            if changed {
                *known = matrix(spec, arithmetic, weights)?;
            }
            Ok::<_, EngineError>(changed)
        });
        let mut changed = changed.collect::<Result<Vec<_>>>()?.contains(&true);
        for (known, spec) in self.vectors.iter_mut().zip(&plan.vectors) {
            if known.0 != ids(spec.parts.iter().flatten().cloned(), weights)? {
                *known = vector(spec, weights)?;
                changed = true;
            }
        }
        Ok(changed)
    }

}

impl<A: Arithmetic> Parameters<A> {
    pub(super) fn matrix(&self, i: usize) -> &A::Matrix {
        &self.matrices[i].1
    }

    pub(super) fn vector(&self, i: usize) -> &[f32] {
        &self.vectors[i].1
    }
}

fn spec_keys(spec: &MatrixSpec) -> impl Iterator<Item = (String, Parameter)> {
    spec.parts.iter().map(|path| (path.clone(), Parameter::Weight))
}

fn find<'a>(key: &(String, Parameter), weights: &'a Weights) -> Result<&'a Tensor> {
    let missing = || EngineError::Request(format!("the model has no {:?} of {}", key.1, key.0));
    weights.get(key).ok_or_else(missing)
}

fn ids(keys: impl Iterator<Item = (String, Parameter)>, weights: &Weights) -> Result<Vec<TensorId>> {
    keys.map(|key| Ok(find(&key, weights)?.id())).collect()
}

fn matrix<A: Arithmetic>(
    spec: &MatrixSpec,
    arithmetic: &A,
    weights: &Weights,
) -> Result<(Vec<TensorId>, A::Matrix)> {
    let tensors: Vec<Tensor> = spec_keys(spec)
        .map(|key| Ok(find(&key, weights)?.contiguous()?))
        .collect::<Result<_>>()?;
    let held: Vec<_> = tensors.iter().filter_map(floats).collect();
    let parts: Vec<&[f32]> = held.iter().map(|values| &**values).collect();
    let found: usize = parts.iter().map(|part| part.len()).sum();
    if found != spec.inputs * spec.outputs * spec.kernel * spec.kernel {
        return Err(EngineError::Request(format!("{:?} have {found} numbers that f32 plans use", spec.parts)));
    }
    Ok((ids(spec_keys(spec), weights)?, arithmetic.pack(spec, &parts)))
}

fn vector(spec: &VectorSpec, weights: &Weights) -> Result<(Vec<TensorId>, Vec<f32>)> {
    let mut values = Vec::new();
    for part in &spec.parts {
        let mut sum: Option<Tensor> = None;
        for key in part {
            let next = find(key, weights)?;
            sum = Some(match sum {
                Some(sum) => (sum + next)?,
                None => next.clone(),
            });
        }
        if let Some(sum) = sum {
            values.extend(sum.flatten_all()?.to_vec1::<f32>()?);
        }
    }
    Ok((ids(spec.parts.iter().flatten().cloned(), weights)?, values))
}
