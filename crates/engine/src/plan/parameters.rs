//! A model's weights as a plan's arithmetic wants them.
//!
//! A matrix is held once: packed from the base, which then lies in the packed form alone if that is exact, and a second time
//! where adapters change it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use adire_kernels::Dtype;
use candle_core::Tensor;
use rayon::prelude::*;

use super::{
    arithmetic::Arithmetic,
    held::Held,
    op::{MatrixSpec, Plan, VectorSpec},
};
use crate::{
    EngineError, Parameter, ParameterVisitor, Result, Weight,
    ops::{PackedMatrix, floats},
    weight::{self, Store},
};

/// Most layers in one matrix whose tensors are given up: unpacking one layer unpacks all.
const MAX_PARTS: usize = 3;

/// Results for adapters, in effect or not, are held up to two ninths of the base's bytes, which is two of all attention layers of SD 1.5,
const HELD_NINTHS: usize = 2;
/// or up to this many bytes.
const HELD_LEAST: usize = 128 << 20;

/// A parameter's module and kind.
type Key = (String, Parameter);

/// Shows every parameter of a model, always in the same order.
pub(super) type Visit<'a> = dyn FnMut(&mut ParameterVisitor<'_>) -> Result<()> + 'a;

/// What `visit` shows, in its order.
pub(super) fn weights(visit: &mut Visit<'_>) -> Result<Vec<Weight>> {
    let mut weights = Vec::new();
    visit(&mut |_, _, weight| {
        weights.push(weight.clone());
        Ok(())
    })?;
    Ok(weights)
}

/// Where in that order each parameter is.
pub(super) fn places(visit: &mut Visit<'_>) -> Result<HashMap<Key, usize>> {
    let mut keys = Vec::new();
    visit(&mut |path, parameter, _| {
        keys.push((path.to_owned(), parameter));
        Ok(())
    })?;
    Ok(keys.into_iter().zip(0..).collect())
}

/// The place of a parameter that a plan names.
pub(super) fn place(places: &HashMap<Key, usize>, key: &Key) -> Result<usize> {
    let missing = || EngineError::Request(format!("the model has no {:?} of {}", key.1, key.0));
    places.get(key).copied().ok_or_else(missing)
}

/// A packed matrix that stands for the weights it was packed from.
#[derive(Debug)]
struct Packed<A: Arithmetic> {
    arithmetic: A,
    spec: MatrixSpec,
    /// Rows of each part.
    rows: Vec<usize>,
    matrix: OnceLock<A::Matrix>,
    /// The weights themselves, which stay in their file, where packing rounds them.
    exact: OnceLock<Vec<Weight>>,
    /// Frobenius norms of the parts, once requested.
    norms: OnceLock<Vec<f64>>,
}

impl<A: Arithmetic> Packed<A> {
    fn new(arithmetic: A, spec: &MatrixSpec, rows: Vec<usize>) -> Arc<Self> {
        let (matrix, exact, norms) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Arc::new(Self { arithmetic, spec: spec.clone(), rows, matrix, exact, norms })
    }

    /// Bytes of its numbers.
    fn bytes(&self) -> usize {
        let row = self.spec.inputs * self.spec.kernel * self.spec.kernel;
        self.rows.iter().sum::<usize>() * row * self.spec.dtype.bytes()
    }

    /// Packs `parts`.
    fn fill(&self, parts: &[Tensor]) -> Result<()> {
        let parts: Vec<Tensor> = parts.iter().map(Tensor::contiguous).collect::<candle_core::Result<_>>()?;
        let held: Vec<_> = parts.iter().filter_map(floats).collect();
        let values: Vec<&[f32]> = held.iter().map(|values| &**values).collect();
        let MatrixSpec { parts, inputs, outputs, kernel, .. } = &self.spec;
        let found: usize = values.iter().map(|part| part.len()).sum();
        if found != inputs * outputs * kernel * kernel {
            let message = format!("{parts:?} hold {found} numbers in f32; a plan needs {outputs} × {inputs}");
            return Err(EngineError::Request(message));
        }
        let matrix = self.arithmetic.pack(&self.spec, &values);
        self.matrix.get_or_init(|| matrix);
        Ok(())
    }
}

impl<A: Arithmetic> Store for Packed<A> {
    fn values(&self, part: usize) -> Result<Vec<f32>> {
        if let Some(weights) = self.exact.get() {
            return Ok(weights[part].base()?.flatten_all()?.to_vec1()?);
        }
        let Some(matrix) = self.matrix.get() else { return Ok(Vec::new()) };
        let first: usize = self.rows[..part].iter().sum();
        Ok(self.arithmetic.unpack(&self.spec, matrix, first..first + self.rows[part]))
    }

    fn norm(&self, part: usize) -> Result<f64> {
        if let Some(norms) = self.norms.get() {
            return Ok(norms[part]);
        }
        let norm = |part| {
            let values = self.values(part)?;
            // Sums of rows: one sum would wait for itself.
            let squares = |row: &[f32]| {
                let mut sums = [0.0; 8];
                for eight in row.chunks(8) {
                    sums.iter_mut().zip(eight).for_each(|(sum, x)| *sum += f64::from(*x).powi(2));
                }
                sums.iter().sum::<f64>()
            };
            Ok(values.par_chunks(1 << 16).map(squares).collect::<Vec<f64>>().iter().sum::<f64>().sqrt())
        };
        let norms = (0..self.rows.len()).map(norm).collect::<Result<Vec<f64>>>()?;
        Ok(self.norms.get_or_init(|| norms)[part])
    }

    fn matrix(&self, _part: usize) -> Option<&PackedMatrix> {
        if self.rows.len() != 1 {
            return None;
        }
        A::packed(self.matrix.get()?)
    }
}

/// A matrix of the base, and what adapters make of it: the versions of its parts, and the result.
#[derive(Debug)]
struct Matrix<A: Arithmetic> {
    /// Where each part is among the weights.
    places: Vec<usize>,
    base: Arc<Packed<A>>,
    effective: Option<(Vec<u64>, Arc<Packed<A>>)>,
}

/// A vector of parameters.
#[derive(Debug)]
pub(super) struct Vector {
    /// Where the terms of each part are among the weights.
    places: Vec<Vec<usize>>,
    versions: Vec<u64>,
    values: Vec<f32>,
}

/// Packed matrices and vectors, in the order of a plan's specs.
#[derive(Debug)]
pub(super) struct Parameters<A: Arithmetic> {
    matrices: Vec<Matrix<A>>,
    vectors: Vec<Vector>,
    /// Results for adapters that were in effect before.
    held: Held<Arc<Packed<A>>>,
}

impl<A: Arithmetic> Parameters<A> {
    /// Packs every weight that `plan` names. The model that `visit` shows keeps no tensors of them.
    pub(super) fn new(plan: &Plan, arithmetic: A, visit: &mut Visit<'_>) -> Result<Self> {
        let (order, known) = (places(visit)?, weights(visit)?);
        let of = |path: &String| place(&order, &(path.clone(), Parameter::Weight));
        let rows =
            |path: &String| of(path).ok().and_then(|place| known[place].dims().first().copied()).unwrap_or(0);
        let matrices: Vec<Arc<Packed<A>>> = plan
            .matrices
            .iter()
            .map(|spec| Packed::new(arithmetic, spec, spec.parts.iter().map(rows).collect()))
            .collect();
        let vectors =
            plan.vectors.iter().map(|spec| Vector::new(spec, &order, &known)).collect::<Result<_>>()?;
        let parts = plan.matrices.iter().map(|spec| spec.parts.iter().map(of).collect::<Result<Vec<_>>>());
        let parts = parts.collect::<Result<Vec<_>>>()?;
        drop(known);
        let mut places: HashMap<&str, (usize, usize)> = HashMap::new();
        for (i, spec) in plan.matrices.iter().enumerate() {
            places.extend(spec.parts.iter().enumerate().map(|(part, path)| (path.as_str(), (i, part))));
        }
        let place =
            |path: &str, parameter| places.get(path).filter(|_| parameter == Parameter::Weight).copied();
        // What is packed as bf16 is not the base: that stays in its file.
        let is_given_up = |i: usize| matrices[i].rows.len() <= MAX_PARTS;
        // What may fail comes before anything is given up.
        visit(&mut |path, parameter, weight| match place(path, parameter) {
            Some((i, _)) if !is_given_up(i) => weight.hold(),
            _ => Ok(()),
        })?;
        let mut bases = HashMap::new();
        visit(&mut |path, parameter, weight| {
            if let Some((i, part)) = place(path, parameter) {
                let stored = is_given_up(i).then(|| weight.store_base(matrices[i].clone(), part));
                bases.insert((i, part), stored.unwrap_or_else(|| weight.clone()));
            }
            Ok(())
        })?;
        // One after the other is read and leaves, so that no two copies of the model are held.
        let bases = Mutex::new(bases);
        let filled = matrices.par_iter().enumerate().try_for_each(|(i, packed)| {
            let take = |part| bases.lock().unwrap_or_else(PoisonError::into_inner).remove(&(i, part));
            let parts: Option<Vec<Weight>> = (0..packed.rows.len()).map(take).collect();
            let missing = || EngineError::Request(format!("the model lacks {:?}", packed.spec.parts));
            let parts = parts.ok_or_else(missing)?;
            let tensors = parts.iter().map(Weight::base).collect::<Result<Vec<_>>>();
            let filled = tensors.and_then(|tensors| packed.fill(&tensors));
            if filled.is_ok() && packed.spec.dtype == Dtype::Bf16 {
                packed.exact.get_or_init(|| parts);
            } else if filled.is_err() {
                let mut bases = bases.lock().unwrap_or_else(PoisonError::into_inner);
                bases.extend(parts.into_iter().enumerate().map(|(part, base)| ((i, part), base)));
            }
            filled
        });
        if let Err(error) = filled {
            // What was not packed is given back, so that the next attempt can succeed.
            let bases = bases.into_inner().unwrap_or_else(PoisonError::into_inner);
            visit(&mut |path, parameter, weight| {
                if let Some(base) = place(path, parameter).and_then(|place| bases.get(&place)) {
                    weight.restore_base(base);
                }
                Ok(())
            })?;
            return Err(error);
        }
        let bytes: usize = matrices.iter().map(|packed| packed.bytes()).sum();
        let matrix = |(base, places)| Matrix { places, base, effective: None };
        let matrices = matrices.into_iter().zip(parts).map(matrix).collect();
        let held = Held::new((bytes / 9 * HELD_NINTHS).max(HELD_LEAST));
        let mut this = Self { matrices, vectors, held };
        this.update(visit)?;
        Ok(this)
    }

    /// The same base for another model of the same weights, shown by `visit`, which has no changes.
    ///
    /// # Errors
    /// It lacks some of the weights of `plan`.
    pub(super) fn share(&self, plan: &Plan, visit: &mut Visit<'_>) -> Result<Self> {
        let (order, known) = (places(visit)?, weights(visit)?);
        let vectors =
            plan.vectors.iter().map(|spec| Vector::new(spec, &order, &known)).collect::<Result<_>>()?;
        let matrix = |(spec, matrix): (&MatrixSpec, &Matrix<A>)| {
            let of = |path: &String| place(&order, &(path.clone(), Parameter::Weight));
            let places = spec.parts.iter().map(of).collect::<Result<Vec<_>>>()?;
            Ok(Matrix { places, base: Arc::clone(&matrix.base), effective: None })
        };
        let matrices = plan.matrices.iter().zip(&self.matrices).map(matrix).collect::<Result<_>>()?;
        Ok(Self { matrices, vectors, held: Held::new(0) })
    }

    /// Packs again what has changed since, by adapters or in training, and says whether anything has.
    pub(super) fn update(&mut self, visit: &mut Visit<'_>) -> Result<bool> {
        let weights = weights(visit)?;
        let mut changed = false;
        let mut missing = Vec::new();
        for (i, matrix) in self.matrices.iter_mut().enumerate() {
            let wanted = versions(&matrix.places, &weights);
            let is_base = wanted.iter().all(|version| *version == 0);
            match matrix.effective.take() {
                None if is_base => continue,
                Some((known, packed)) if known == wanted => {
                    matrix.effective = Some((known, packed));
                    continue;
                }
                Some((known, packed)) if known.iter().all(|version| weight::recurs(*version)) => {
                    let bytes = packed.bytes();
                    self.held.put(i, known, packed, bytes);
                }
                _ => {}
            }
            changed = true;
            if is_base {
                continue;
            }
            match self.held.take(i, &wanted) {
                Some(packed) => matrix.effective = Some((wanted, packed)),
                None => missing.push((i, wanted)),
            }
        }
        // What leaves makes room for what comes.
        let effective = self.matrices.iter().filter_map(|matrix| matrix.effective.as_ref());
        let effective: usize = effective.map(|(_, packed)| packed.bytes()).sum();
        let coming: usize = missing.iter().map(|(i, _)| self.matrices[*i].base.bytes()).sum();
        let spare: HashMap<usize, Arc<Packed<A>>> =
            self.held.shrink(effective + coming).into_iter().collect();
        let spare = Mutex::new(spare);
        let made = missing.into_par_iter().map(|(i, wanted)| {
            let before = spare.lock().unwrap_or_else(PoisonError::into_inner).remove(&i);
            let before = before.and_then(|packed| Arc::into_inner(packed)?.matrix.into_inner());
            Ok((i, wanted, self.matrices[i].make(&weights, before)?))
        });
        for (i, wanted, packed) in made.collect::<Result<Vec<_>>>()? {
            self.matrices[i].effective = Some((wanted, packed));
        }
        for vector in &mut self.vectors {
            changed |= vector.read_changed(&weights)?;
        }
        drop(weights);
        if changed {
            self.keep_effective(visit)?;
        }
        Ok(changed)
    }

    /// Effective weights lie in the packed form alone.
    fn keep_effective(&self, visit: &mut Visit<'_>) -> Result<()> {
        let mut stored = HashMap::new();
        for matrix in &self.matrices {
            if let Some((_, packed)) = &matrix.effective
                && packed.rows.len() <= MAX_PARTS
            {
                stored.extend(matrix.places.iter().zip(0..).map(|(place, part)| (*place, (packed, part))));
            }
        }
        let mut places = 0..;
        visit(&mut |_, _, weight| {
            if let Some((packed, part)) = places.next().and_then(|place| stored.get(&place)) {
                weight.store_effective(Arc::clone(packed) as Arc<dyn Store>, *part);
            }
            Ok(())
        })
    }

    pub(super) fn matrix(&self, i: usize) -> &A::Matrix {
        let Matrix { base, effective, .. } = &self.matrices[i];
        let packed = effective.as_ref().map_or(base, |(_, packed)| packed);
        packed.matrix.get().expect("filled when it was made")
    }

    pub(super) fn vector(&self, i: usize) -> &[f32] {
        &self.vectors[i].values
    }
}

impl<A: Arithmetic> Matrix<A> {
    /// The matrix of the effective weights, in the memory of `before` if that is possible.
    fn make(&self, weights: &[Weight], before: Option<A::Matrix>) -> Result<Arc<Packed<A>>> {
        let packed = Packed::new(self.base.arithmetic, &self.base.spec, self.base.rows.clone());
        match self.merged(weights, before)? {
            Some(matrix) => drop(packed.matrix.set(matrix)),
            None => {
                let parts = self.places.iter().map(|place| weights[*place].merged());
                packed.fill(&parts.collect::<Result<Vec<_>>>()?)?;
            }
        }
        Ok(packed)
    }

    /// The base with low-rank changes, in the memory of `before` if there is some; `None` where there are others.
    fn merged(&self, weights: &[Weight], before: Option<A::Matrix>) -> Result<Option<A::Matrix>> {
        let Some(base) = self.base.matrix.get() else { return Ok(None) };
        let (mut changes, mut first) = (Vec::new(), 0);
        for (place, rows) in self.places.iter().zip(&self.base.rows) {
            let weight = &weights[*place];
            match weight.changes() {
                Some(found) => changes.extend(found.iter().map(|change| (first..first + rows, change))),
                None if weight.version() == 0 => {}
                None => return Ok(None),
            }
            first += rows;
        }
        self.base.arithmetic.merge(base, before, &changes)
    }
}

impl Vector {
    pub(super) fn new(spec: &VectorSpec, order: &HashMap<Key, usize>, weights: &[Weight]) -> Result<Self> {
        let part = |keys: &Vec<Key>| keys.iter().map(|key| place(order, key)).collect::<Result<Vec<_>>>();
        let places = spec.parts.iter().map(part).collect::<Result<_>>()?;
        let mut this = Self { places, versions: Vec::new(), values: Vec::new() };
        this.read(weights)?;
        Ok(this)
    }

    /// Its numbers.
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Reads it again if it has changed since, and says whether it has.
    pub(super) fn read_changed(&mut self, weights: &[Weight]) -> Result<bool> {
        let changed = self.versions != versions(self.places.iter().flatten(), weights);
        if changed {
            self.read(weights)?;
        }
        Ok(changed)
    }

    fn read(&mut self, weights: &[Weight]) -> Result<()> {
        let mut values = Vec::new();
        for part in &self.places {
            let mut sum: Option<Tensor> = None;
            for place in part {
                let next = weights[*place].effective()?;
                sum = Some(match sum {
                    Some(sum) => (sum + next)?,
                    None => next,
                });
            }
            if let Some(sum) = sum {
                values.extend(sum.flatten_all()?.to_vec1::<f32>()?);
            }
        }
        (self.versions, self.values) = (versions(self.places.iter().flatten(), weights), values);
        Ok(())
    }
}

pub(super) fn versions<'a>(places: impl IntoIterator<Item = &'a usize>, weights: &[Weight]) -> Vec<u64> {
    places.into_iter().map(|place| weights[*place].version()).collect()
}
