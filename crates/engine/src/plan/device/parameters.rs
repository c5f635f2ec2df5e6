//! A model's weights in a GPU's memory.
//!
//! Kernels know one place for each matrix, where the effective weights lie. The pristine ones of a matrix get a place of their
//! own when it is changed for the first time; every merge begins with them, so that equal changes give equal bits. The
//! weights themselves stay in their files, from which receipts and fingerprints read them.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use adire_cuda::{ALIGN, Change, Delta, Element, Kernel, MAX_CHANGES, Matrix as DeviceMatrix, Memory, Span};
use candle_core::Tensor;
use rayon::prelude::*;

use super::{
    super::{
        op::{MatrixSpec, Plan},
        parameters::{Vector, Visit, place, places, versions, weights},
    },
    Target,
};
use crate::{
    EngineError, Parameter, Result, Weight,
    ops::floats,
    weight::{self, Store},
};

/// Weights that lie in their file, and their norms.
#[derive(Debug)]
struct Exact {
    parts: Vec<Weight>,
    norms: Vec<OnceLock<f64>>,
}

impl Store for Exact {
    fn values(&self, part: usize) -> Result<Vec<f32>> {
        Ok(self.parts[part].base()?.flatten_all()?.to_vec1()?)
    }

    fn norm(&self, part: usize) -> Result<f64> {
        if let Some(norm) = self.norms[part].get() {
            return Ok(*norm);
        }
        let norm = weight::norm(&self.parts[part].base()?)?;
        Ok(*self.norms[part].get_or_init(|| norm))
    }
}

/// A matrix.
#[derive(Debug)]
struct Matrix {
    spec: MatrixSpec,
    /// Where each part is among the weights.
    places: Vec<usize>,
    /// Rows of each part.
    rows: Vec<usize>,
    /// The weights in effect.
    effective: DeviceMatrix,
    /// Those of the base, once the others are not.
    pristine: Option<Memory>,
    /// What is in effect.
    versions: Vec<u64>,
}

/// Powers of two that keep sums within the range of f16.
#[derive(Clone, Debug, Default)]
pub(super) struct Exponents {
    /// Of what lies in each buffer: it holds 2ⁿ times the value.
    pub(super) buffers: Vec<i32>,
    /// Of what each matrix and each vector is multiplied with when it is packed.
    pub(super) matrices: Vec<i32>,
    pub(super) vectors: Vec<i32>,
}

fn exponent(of: &[i32], i: usize) -> i32 {
    of.get(i).copied().unwrap_or(0)
}

/// Matrices and vectors in the order of a plan's specs.
#[derive(Debug)]
pub(super) struct DeviceParameters {
    target: Target,
    exponents: Exponents,
    matrices: Vec<Matrix>,
    vectors: Vec<(Vector, Span)>,
}

impl DeviceParameters {
    /// Uploads every weight that `plan` names. The model that `visit` shows keeps no tensors of matrices.
    ///
    /// # Errors
    /// A weight cannot be read, or the device's memory does not suffice; the model is then as before.
    pub(super) fn new(
        target: &Target,
        plan: &Plan,
        exponents: Exponents,
        visit: &mut Visit<'_>,
    ) -> Result<Self> {
        let (order, known) = (places(visit)?, weights(visit)?);
        let bytes = |spec: &MatrixSpec| {
            (spec.outputs * spec.inputs * spec.kernel * spec.kernel * target.element.bytes())
                .next_multiple_of(ALIGN)
        };
        let vectors = plan.vectors.iter().map(|spec| Vector::new(spec, &order, &known));
        let vectors = vectors.collect::<Result<Vec<_>>>()?;
        let length = |vector: &Vector| (vector.values().len() * Element::F32.bytes()).next_multiple_of(ALIGN);
        let total =
            plan.matrices.iter().map(bytes).sum::<usize>() + vectors.iter().map(length).sum::<usize>();
        let memory = target.runtime.allocate(total)?;
        let mut at = 0;
        let mut matrices = Vec::with_capacity(plan.matrices.len());
        for spec in &plan.matrices {
            let of = |path: &String| place(&order, &(path.clone(), Parameter::Weight));
            let places = spec.parts.iter().map(of).collect::<Result<Vec<_>>>()?;
            let rows =
                places.iter().map(|place| known[*place].dims().first().copied().unwrap_or(0)).collect();
            let MatrixSpec { inputs, outputs, kernel, gated, .. } = *spec;
            let element = target.element;
            let values = memory.span(at..at + outputs * inputs * kernel * kernel * element.bytes())?;
            let effective = DeviceMatrix { values, element, outputs, inputs, kernel, gated };
            let versions = vec![0; places.len()];
            matrices.push(Matrix { spec: spec.clone(), places, rows, effective, pristine: None, versions });
            at += bytes(spec);
        }
        let mut placed = Vec::with_capacity(vectors.len());
        for vector in vectors {
            let span = memory.span(at..at + vector.values().len() * Element::F32.bytes())?;
            at += length(&vector);
            placed.push((vector, span));
        }
        let mut this = Self { target: target.clone(), exponents, matrices, vectors: placed };
        for i in 0..this.matrices.len() {
            this.upload_base(i, &known)?;
        }
        for i in 0..this.vectors.len() {
            this.upload_vector(i)?;
        }
        drop(known);
        this.give_up(visit)?;
        this.update(visit)?;
        Ok(this)
    }

    /// Packs the base's values of a matrix.
    fn upload_base(&self, i: usize, known: &[Weight]) -> Result<()> {
        let matrix = &self.matrices[i];
        let parts = matrix.places.iter().map(|place| known[*place].base()).collect::<Result<Vec<_>>>()?;
        self.upload_matrix(i, &parts)
    }

    /// Packs values of a matrix: the parts one below the other, [outputs, inputs] or [outputs, 3, 3, inputs].
    fn upload_matrix(&self, i: usize, parts: &[Tensor]) -> Result<()> {
        let Matrix { spec, effective, .. } = &self.matrices[i];
        let parts: Vec<Tensor> = parts.iter().map(Tensor::contiguous).collect::<candle_core::Result<_>>()?;
        let held: Vec<_> = parts.iter().filter_map(floats).collect();
        let mut values = held.iter().flat_map(|values| values.iter().copied()).collect::<Vec<f32>>();
        if values.len() != effective.outputs * effective.columns() {
            let (outputs, inputs) = (spec.outputs, spec.inputs);
            let message =
                format!("{:?} hold {} numbers; a plan needs {outputs} × {inputs}", spec.parts, values.len());
            return Err(EngineError::Request(message));
        }
        if spec.kernel > 1 {
            values = channels_last(&values, spec.inputs, spec.kernel * spec.kernel);
        }
        scale(&mut values, exponent(&self.exponents.matrices, i));
        Ok(self.target.runtime.upload(&effective.element.encode(&values), &effective.values)?)
    }

    fn upload_vector(&self, i: usize) -> Result<()> {
        let (vector, span) = &self.vectors[i];
        let mut values = vector.values().to_vec();
        scale(&mut values, exponent(&self.exponents.vectors, i));
        self.target.upload(&values, span)
    }

    /// The weights' values lie in their files alone.
    fn give_up(&self, visit: &mut Visit<'_>) -> Result<()> {
        let known = weights(visit)?;
        let mut stores: HashMap<usize, (Arc<Exact>, usize)> = HashMap::new();
        for matrix in &self.matrices {
            // Without what adapters make of them.
            let mut parts: Vec<Weight> = matrix.places.iter().map(|place| known[*place].clone()).collect();
            parts.iter_mut().try_for_each(|part| part.set_delta(None))?;
            let norms = parts.iter().map(|_| OnceLock::new()).collect();
            let store = Arc::new(Exact { parts, norms });
            stores.extend(matrix.places.iter().zip(0..).map(|(place, part)| (*place, (store.clone(), part))));
        }
        drop(known);
        let mut places = 0..;
        visit(&mut |_, _, weight| {
            if let Some((store, part)) = places.next().and_then(|place| stores.get(&place)) {
                weight.store_base(store.clone() as Arc<dyn Store>, *part);
            }
            Ok(())
        })
    }

    /// Merges what has changed since, and says whether anything has.
    ///
    /// # Errors
    /// The device's memory does not suffice. The next call merges again.
    pub(super) fn update(&mut self, visit: &mut Visit<'_>) -> Result<bool> {
        let known = weights(visit)?;
        let mut changed = false;
        for i in 0..self.matrices.len() {
            let wanted = versions(&self.matrices[i].places, &known);
            if self.matrices[i].versions != wanted {
                changed = true;
                // Whatever happens on the way, nobody takes what lies there then for the old weights.
                self.matrices[i].versions.fill(u64::MAX);
                self.merge(i, &known)?;
                self.matrices[i].versions = wanted;
            }
        }
        for i in 0..self.vectors.len() {
            if self.vectors[i].0.read_changed(&known)? {
                changed = true;
                self.upload_vector(i)?;
            }
        }
        Ok(changed)
    }

    /// Makes a matrix that of the effective weights.
    fn merge(&mut self, i: usize, known: &[Weight]) -> Result<()> {
        self.keep_pristine(i)?;
        let factor = f64::powi(2.0, exponent(&self.exponents.matrices, i)) as f32;
        let matrix = &self.matrices[i];
        let (mut factors, mut changes, mut first) = (Vec::new(), Vec::new(), 0);
        let mut is_low_rank = true;
        for (place, rows) in matrix.places.iter().zip(&matrix.rows) {
            let weight = &known[*place];
            match weight.changes() {
                Some(found) => {
                    for change in found {
                        let (up, down) = change.factors()?;
                        let (Some(up), Some(down)) = (floats(&up), floats(&down)) else {
                            is_low_rank = false;
                            continue;
                        };
                        let rank = up.len() / (*rows).max(1);
                        let taps = matrix.spec.kernel * matrix.spec.kernel;
                        let down = channels_last(&down, matrix.spec.inputs, taps);
                        changes.push((first, *rows, rank, change.scale as f32 * factor));
                        factors.push((up.to_vec(), down));
                    }
                }
                None if weight.version() == 0 => {}
                None => is_low_rank = false,
            }
            first += rows;
        }
        if !is_low_rank || changes.len() > MAX_CHANGES {
            let parts =
                matrix.places.iter().map(|place| known[*place].merged()).collect::<Result<Vec<_>>>()?;
            return self.upload_matrix(i, &parts);
        }
        let numbers: usize = factors.iter().map(|(up, down)| up.len() + down.len()).sum();
        let memory = self.target.runtime.allocate(numbers * Element::F32.bytes())?;
        let all: Vec<f32> = factors.iter().flat_map(|(up, down)| up.iter().chain(down).copied()).collect();
        self.target.upload(&all, &memory.whole())?;
        let mut at = 0;
        let mut next = |numbers: usize| {
            let bytes = at..at + numbers * Element::F32.bytes();
            at = bytes.end;
            memory.span(bytes)
        };
        let changes = changes.into_iter().zip(&factors).map(|((first, rows, rank, strength), (up, down))| {
            let delta = Delta::LowRank { up: next(up.len())?, down: next(down.len())?, rank };
            Ok(Change { first, rows, delta, strength })
        });
        let changes = changes.collect::<Result<Vec<_>>>()?;
        let Some(pristine) = &matrix.pristine else { return Ok(()) };
        Ok(self.target.runtime.launch(&merge(
            &pristine.whole(),
            &matrix.effective.values,
            &matrix.effective,
            changes,
        ))?)
    }

    /// Copies the base's weights before they are changed for the first time.
    fn keep_pristine(&mut self, i: usize) -> Result<()> {
        let Matrix { effective, pristine, .. } = &self.matrices[i];
        if pristine.is_none() {
            let memory = self.target.runtime.allocate(effective.values.len())?;
            self.target.runtime.launch(&merge(&effective.values, &memory.whole(), effective, Vec::new()))?;
            self.matrices[i].pristine = Some(memory);
        }
        Ok(())
    }

    pub(super) fn matrix(&self, i: usize) -> &DeviceMatrix {
        &self.matrices[i].effective
    }

    pub(super) fn vector(&self, i: usize) -> Span {
        self.vectors[i].1.clone()
    }

    /// The power of two of what lies in a buffer.
    pub(super) fn exponent(&self, buffer: usize) -> i32 {
        exponent(&self.exponents.buffers, buffer)
    }
}

fn merge(from: &Span, to: &Span, of: &DeviceMatrix, changes: Vec<Change>) -> Kernel {
    Kernel::Merge {
        pristine: from.clone(),
        effective: to.clone(),
        element: of.element,
        rows: of.outputs,
        columns: of.columns(),
        changes,
    }
}

/// Rows of [inputs, taps] as [taps, inputs].
fn channels_last(values: &[f32], inputs: usize, taps: usize) -> Vec<f32> {
    if taps == 1 {
        return values.to_vec();
    }
    let mut turned = vec![0.0; values.len()];
    turned.par_chunks_mut(taps * inputs).zip(values.par_chunks(taps * inputs)).for_each(|(to, from)| {
        for (i, value) in from.iter().enumerate() {
            to[i % taps * inputs + i / taps] = *value;
        }
    });
    turned
}

/// Multiplies with a power of two.
fn scale(values: &mut [f32], exponent: i32) {
    if exponent != 0 {
        let factor = f64::powi(2.0, exponent) as f32;
        values.iter_mut().for_each(|value| *value *= factor);
    }
}
