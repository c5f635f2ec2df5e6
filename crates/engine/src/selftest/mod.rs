//! The golden comparisons as part of the program, to verify a device on a machine without a compiler. The tests of this
//! crate run the same comparisons on the CPU, and more.

mod images;
mod models;
mod trajectories;

use std::{collections::HashMap, fmt, path::Path};

use candle_core::{DType, Device, Tensor};
use serde::de::DeserializeOwned;

use crate::{EngineError, LoadOptions, Placement, Result};

/// One comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What was compared.
    pub name: String,
    /// The worst difference.
    pub error: f64,
    /// The largest accepted difference.
    pub bound: f64,
    /// Unit of both.
    pub unit: Unit,
}

/// Unit of a [`Row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Largest difference of any number, divided by the largest number expected.
    Relative,
    /// Largest difference of any pixel's channel, of 255.
    Levels,
    /// Things that should have been equal and were not.
    Count,
}

impl Row {
    /// Whether the error is within the bound; NaN is not.
    pub fn holds(&self) -> bool {
        self.error <= self.bound
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, error, bound, unit } = self;
        let verdict = if self.holds() { "ok" } else { "WRONG" };
        match unit {
            Unit::Relative => write!(f, "{name:<44} {error:>9.1e}   at most {bound:.0e}   {verdict}"),
            Unit::Levels => write!(f, "{name:<44} {error:>5}/255   at most {bound}/255   {verdict}"),
            Unit::Count => write!(f, "{name:<44} {error:>9}   at most {bound}   {verdict}"),
        }
    }
}

/// How far a precision may be from the f32 goldens.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Of one call of a model, relative.
    model: f64,
    /// Of the latents of a whole image, relative.
    latents: f64,
    /// Of an image's pixels, of 255.
    levels: f64,
}

/// Of the samplers, and of the autoencoder but on a GPU by own kernels, which compute in f32 whatever the precision is. On GPUs
/// without TF32, candle's default.
const SINGLE: f64 = 1e-4;

impl Bounds {
    /// f32 is held to what it is held to on the CPU. The goldens' models are random: half precision's rounding,
    /// 2⁻¹¹ or 2⁻⁸, adds up over all their layers.
    fn of(dtype: DType) -> Self {
        match dtype {
            DType::F16 => Self { model: 1e-2, latents: 2e-2, levels: 4.0 },
            DType::BF16 => Self { model: 6e-2, latents: 1e-1, levels: 20.0 },
            _ => Self { model: SINGLE, latents: 1e-3, levels: 2.0 },
        }
    }
}

/// Compares text encoders, UNets, autoencoders, adapters, every sampler's trajectory and image, the weights
/// after 40 switches of adapters, and images of a batch with the golden files in `goldens` (this crate's `tests/goldens`),
/// computing as pipelines do that are loaded there. `report` gets each row as it is found.
///
/// # Errors
/// A golden file is missing or damaged, or a computation fails. A difference is not an error: see [`Row::holds`].
pub fn run(goldens: &Path, place: &Placement, report: &mut dyn FnMut(&Row)) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut add = |row: Row| {
        report(&row);
        rows.push(row);
    };
    let setup = Setup { goldens, place, bounds: Bounds::of(place.dtype) };
    models::calls(&setup, &mut add)?;
    models::autoencoders(&setup, &mut add)?;
    models::adapters(&setup, &mut add)?;
    trajectories::compare(&setup, &mut add)?;
    images::compare(&setup, &mut add)?;
    images::switches(&setup, &mut add)?;
    images::batch(&setup, &mut add)?;
    Ok(rows)
}

/// Golden files, place and bounds of a run.
struct Setup<'a> {
    goldens: &'a Path,
    place: &'a Placement,
    bounds: Bounds,
}

impl Setup<'_> {
    fn options(&self) -> LoadOptions {
        let Placement { device, gpu, dtype, .. } = self.place;
        LoadOptions { device: device.clone(), gpu: gpu.clone(), dtype: *dtype, ..LoadOptions::default() }
    }

    /// The tensors of a golden file, on the device.
    fn tensors(&self, name: &str) -> Result<Goldens> {
        let tensors = candle_core::safetensors::load(self.goldens.join(name), &self.place.device)
            .map_err(|error| self.damaged(name, &error))?;
        Ok(Goldens { name: name.to_owned(), tensors })
    }

    /// A note in the header of a golden file, as JSON.
    fn note<T: DeserializeOwned>(&self, name: &str, key: &str) -> Result<T> {
        let bytes = std::fs::read(self.goldens.join(name)).map_err(|error| self.damaged(name, &error))?;
        let (_, header) =
            safetensors::SafeTensors::read_metadata(&bytes).map_err(|error| self.damaged(name, &error))?;
        let note = header.metadata().as_ref().and_then(|notes| notes.get(key));
        let note = note.ok_or_else(|| self.damaged(name, &format!("it has no note {key}")))?;
        serde_json::from_str(note).map_err(|error| self.damaged(name, &error))
    }

    /// A golden file that is a list in JSON.
    fn list<T: DeserializeOwned>(&self, name: &str) -> Result<Vec<T>> {
        let text = std::fs::read(self.goldens.join(name)).map_err(|error| self.damaged(name, &error))?;
        serde_json::from_slice(&text).map_err(|error| self.damaged(name, &error))
    }

    fn damaged(&self, name: &str, what: &dyn fmt::Display) -> EngineError {
        EngineError::model(&self.goldens.join(name), format!("cannot be read as a golden file ({what})."))
    }

    fn row(&self, name: impl Into<String>, error: f64) -> Row {
        Row { name: name.into(), error, bound: self.bounds.model, unit: Unit::Relative }
    }
}

/// A golden file's tensors.
struct Goldens {
    name: String,
    tensors: HashMap<String, Tensor>,
}

impl Goldens {
    fn get(&self, key: &str) -> Result<&Tensor> {
        self.tensors.get(key).ok_or_else(|| {
            EngineError::model(
                Path::new(&self.name),
                format!("lacks the tensor {key}; it is another version's."),
            )
        })
    }
}

/// Largest difference, relative to the largest number expected; infinite for NaN or where the shapes
/// differ.
fn relative_error(found: &Tensor, expected: &Tensor) -> Result<f64> {
    if found.dims() != expected.dims() {
        return Ok(f64::INFINITY);
    }
    let numbers = |x: &Tensor| -> Result<Vec<f32>> {
        Ok(x.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
    };
    let (found, expected) = (numbers(found)?, numbers(expected)?);
    let scale = expected.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
    let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
    let worst = worst.fold(0f32, |most, x| if x.is_nan() { f32::INFINITY } else { most.max(x) });
    Ok(f64::from(worst) / f64::from(scale))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use adire_cuda::Fake;

    use super::*;
    use crate::Gpu;

    #[test]
    fn a_gpu_computes_what_is_compared() {
        let fake = Fake::default();
        let gpu = Some(Gpu::new(Arc::new(fake.clone()), 0));
        let place = Placement { device: Device::Cpu, gpu, dtype: DType::F16, note: None };
        let work = || fake.counts().launches + fake.counts().replays;
        let mut before = 0;
        let rows = run(Path::new("tests/goldens"), &place, &mut |row| {
            // Samplers compute on the CPU, and an image is compared after its latents.
            let is_done = ["trajectory ", "image "].iter().any(|what| row.name.starts_with(what));
            assert!(work() > before || is_done, "not by the GPU: {row}");
            before = work();
        });
        let wrong: Vec<_> = rows.unwrap().into_iter().filter(|row| !row.holds()).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn what_is_no_number_or_of_another_shape_never_holds() {
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        let expected = tensor(&[1.0, -4.0]);
        assert_eq!(relative_error(&tensor(&[1.0, -3.0]), &expected).unwrap(), 0.25);
        for wrong in [&[f32::NAN, -4.0][..], &[1.0, f32::INFINITY], &[1.0]] {
            let error = relative_error(&tensor(wrong), &expected).unwrap();
            assert_eq!(error, f64::INFINITY);
            assert!(!Row { name: String::new(), error, bound: 1e9, unit: Unit::Relative }.holds());
        }
        assert!(!Row { name: String::new(), error: f64::NAN, bound: 1e9, unit: Unit::Relative }.holds());
    }
}
