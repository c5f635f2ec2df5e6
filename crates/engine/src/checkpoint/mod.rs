//! Reading weights from safetensors files, with a path cursor that mirrors diffusers' keys.
//!
//! Only headers are held; each tensor is read, converted and moved to its device when a layer asks for it, so
//! that no file is ever in memory twice. Pickles are refused: opening one runs whatever code it holds.

mod find;
mod header;
mod ldm;
mod single;

use std::{
    collections::HashMap,
    fmt::Display,
    path::{Path, PathBuf},
    sync::Arc,
};

use candle_core::{DType, Device, Shape, Tensor};

pub(crate) use self::{
    find::find_weights,
    header::WeightFile,
    ldm::Naming,
    single::{SingleFile, vae_naming},
};
use crate::{EngineError, Result, Weight, weight::Source};

const SAFETENSORS_ONLY: &str = "Weights are read from safetensors only, because a pickle can run any code when it \
    is opened; convert it (in Python: `safetensors.torch.save_file(state_dict, …)`, or save_pretrained with \
    `safe_serialization=True`), or download the .safetensors version.";

/// The weights of one model: a file, several, or a part of one.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// What messages name when a tensor is missing.
    path: PathBuf,
    files: Vec<Arc<WeightFile>>,
    /// Which of the files holds a tensor; empty where there is only one file.
    places: HashMap<String, usize>,
    naming: Naming,
}

impl Checkpoint {
    /// Opens the weight files of `folder` (see [`find_weights`]).
    pub(crate) fn open(folder: &Path, stem: &str) -> Result<Self> {
        let paths = find_weights(folder, stem)?;
        let mut files = Vec::with_capacity(paths.len());
        let mut places = HashMap::new();
        for (index, path) in paths.iter().enumerate() {
            let file = WeightFile::open(path)?;
            if paths.len() > 1 {
                for name in file.names() {
                    if let Some(other) = places.insert(name.clone(), index) {
                        let other = paths[other].display();
                        return Err(EngineError::model(path, format!("holds {name}, and so does {other}.")));
                    }
                }
            }
            files.push(Arc::new(file));
        }
        let path = if let [path] = &paths[..] { path.clone() } else { folder.to_owned() };
        Ok(Self { path, files, places, naming: Naming::Diffusers })
    }

    /// Opens one file that holds nothing else.
    pub(crate) fn of_file(path: &Path) -> Result<Self> {
        Ok(Self::part(Arc::new(WeightFile::open(path)?), Naming::Diffusers))
    }

    /// The part of a single-file checkpoint that `naming` finds.
    fn part(file: Arc<WeightFile>, naming: Naming) -> Self {
        Self { path: file.path().to_owned(), files: vec![file], places: HashMap::new(), naming }
    }

    /// A cursor at the root, giving tensors of `dtype` on `device`.
    pub(crate) fn root(&self, dtype: DType, device: &Device) -> Cursor<'_> {
        let weights = Weights::Stored { checkpoint: self, reading: Reading::Now };
        Cursor { weights, prefix: String::new(), dtype, device: device.clone() }
    }

    /// The file that holds the tensor, and its name there.
    fn place(&self, key: &str) -> Option<(&Arc<WeightFile>, String)> {
        let name = self.naming.stored(key)?;
        let index = if self.files.len() == 1 { 0 } else { *self.places.get(&name)? };
        let file = self.files.get(index)?;
        file.info(&name)?;
        Some((file, name))
    }

    fn find(&self, key: &str) -> Result<(&Arc<WeightFile>, String)> {
        self.place(key).ok_or_else(|| {
            let name = self.naming.stored(key).unwrap_or_else(|| key.to_owned());
            let message = format!("lacks the tensor {name}; the file does not fit {}.", self.naming.config());
            EngineError::model(&self.path, message)
        })
    }
}

/// When the weights of layers are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// While the model is loaded.
    Now,
    /// When a plan packs them, several at a time.
    Deferred,
}

/// A tensor of a file, to be read when it is needed.
#[derive(Debug)]
struct Stored {
    file: Arc<WeightFile>,
    name: String,
    shape: Shape,
    dtype: DType,
    device: Device,
}

impl Source for Stored {
    fn read(&self) -> Result<Tensor> {
        let tensor = self.file.read(&self.name)?.ok_or_else(|| {
            EngineError::model(self.file.path(), format!("lacks the tensor {}.", self.name))
        })?;
        Ok(tensor.reshape(&self.shape)?.to_dtype(self.dtype)?.to_device(&self.device)?)
    }
}

/// What a cursor gives.
#[derive(Clone, Copy, Debug)]
enum Weights<'a> {
    Stored {
        checkpoint: &'a Checkpoint,
        reading: Reading,
    },
    /// Zeros of every shape that is asked for, which take no memory.
    Shapes,
}

/// A place in a checkpoint: `cursor.pp("down_blocks").pp(0)`.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    weights: Weights<'a>,
    prefix: String,
    dtype: DType,
    device: Device,
}

impl Cursor<'static> {
    /// Builds a model that has every module but no weights: for what depends on its structure alone.
    pub(crate) fn of_shapes() -> Self {
        Self { weights: Weights::Shapes, prefix: String::new(), dtype: DType::F32, device: Device::Cpu }
    }
}

impl Cursor<'_> {
    /// The same, with the weights of layers read when `reading` says so.
    pub(crate) fn reading(mut self, reading: Reading) -> Self {
        if let Weights::Stored { reading: when, .. } = &mut self.weights {
            *when = reading;
        }
        self
    }

    /// One level deeper.
    pub(crate) fn pp(&self, name: impl Display) -> Self {
        let mut deeper = self.clone();
        deeper.prefix = self.key(name);
        deeper
    }

    /// Where its tensors go.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the tensor `name` exists here.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self.weights {
            Weights::Stored { checkpoint, .. } => checkpoint.place(&self.key(name)).is_some(),
            Weights::Shapes => true,
        }
    }

    /// The shape of the tensor `name`, if there is one: for checkpoints without a config.
    pub(crate) fn dims(&self, name: &str) -> Option<Vec<usize>> {
        let Weights::Stored { checkpoint, .. } = self.weights else { return None };
        let (file, name) = checkpoint.place(&self.key(name))?;
        Some(file.info(&name)?.shape.clone())
    }

    /// The tensor `name` in the compute dtype, on the device.
    ///
    /// # Errors
    /// It is not there or has another shape; the message names file, tensor, expected and found shape.
    pub(crate) fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        let shape = shape.into();
        match self.weights {
            Weights::Stored { checkpoint, .. } => self.stored(checkpoint, shape, name)?.read(),
            Weights::Shapes => Ok(Tensor::zeros((), self.dtype, &self.device)?.broadcast_as(shape)?),
        }
    }

    /// The tensor `name` as the weight of a layer, which may be read later.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) fn weight(&self, shape: impl Into<Shape>, name: &str) -> Result<Weight> {
        let shape = shape.into();
        match self.weights {
            Weights::Stored { checkpoint, reading: Reading::Deferred } => {
                let stored = self.stored(checkpoint, shape.clone(), name)?;
                Ok(Weight::deferred(shape, Arc::new(stored)))
            }
            _ => Ok(Weight::new(self.get(shape, name)?)),
        }
    }

    /// Where a tensor lies. Its shape is checked against the header.
    fn stored(&self, checkpoint: &Checkpoint, shape: Shape, name: &str) -> Result<Stored> {
        let key = self.key(name);
        let (file, name) = checkpoint.find(&key)?;
        let found = file.info(&name).map(|info| info.shape.clone()).unwrap_or_default();
        let is_matrix = || {
            checkpoint.naming.stores_linear_as_conv(&key)
                && found.strip_suffix(&[1, 1]).is_some_and(|matrix| matrix == shape.dims())
        };
        if found != shape.dims() && !is_matrix() {
            return Err(EngineError::model(
                file.path(),
                format!(
                    "the tensor {name} has shape {found:?}, but {} asks for {:?}; they do not belong together.",
                    checkpoint.naming.config(),
                    shape.dims()
                ),
            ));
        }
        file.dtype(&name)?;
        Ok(Stored { file: file.clone(), name, shape, dtype: self.dtype, device: self.device.clone() })
    }

    fn key(&self, name: impl Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}
