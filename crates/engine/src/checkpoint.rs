//! Reading weights from one safetensors file, with a path cursor that mirrors the checkpoint's keys.
//!
//! Only the header is held; each tensor is read, converted and moved to its device when a layer asks for it, so
//! that no file is ever in memory twice. Pickles are refused: opening one runs whatever code it holds.

use std::{
    cell::RefCell,
    fmt::Display,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use candle_core::{DType, Device, Shape, Tensor};
use safetensors::tensor::Metadata;

use crate::{EngineError, Result};

/// Longest header that is believed; SD 1.5's UNet needs 90 kB.
const MAX_HEADER: u64 = 64 << 20;

const SAFETENSORS_ONLY: &str = "Weights are read from safetensors only, because a pickle can run any code when it \
    is opened; convert it (in Python: `safetensors.torch.save_file(state_dict, …)`, or save_pretrained with \
    `safe_serialization=True`).";

/// An open safetensors file whose header has been checked against its size.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    path: PathBuf,
    file: RefCell<File>,
    metadata: Metadata,
    data_start: u64,
}

impl Checkpoint {
    /// Opens `path` and checks that header and size fit together.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let fail = |message: String| EngineError::model(path, message);
        let mut file = File::open(path).map_err(|e| fail(format!("cannot be opened ({e}).")))?;
        let size = file.metadata().map_err(|e| fail(format!("cannot be read ({e}).")))?.len();
        let mut head = [0u8; 8];
        if size < 8 || file.read_exact(&mut head).is_err() {
            return Err(fail(format!(
                "is no safetensors file: it has only {size} bytes. Download it again."
            )));
        }
        if is_pickle(&head) {
            return Err(fail(format!("is a PyTorch pickle, whatever its name says. {SAFETENSORS_ONLY}")));
        }
        let header = u64::from_le_bytes(head);
        if header > MAX_HEADER {
            return Err(fail(
                "is no safetensors file: its first eight bytes name an impossible header size.".to_owned(),
            ));
        }
        if header + 8 > size {
            return Err(fail(format!(
                "is truncated: it has {size} bytes, but its header alone needs {}. Download it again.",
                header + 8
            )));
        }
        let mut json = vec![0u8; header as usize];
        file.read_exact(&mut json).map_err(|e| fail(format!("cannot be read ({e}).")))?;
        let metadata: Metadata = serde_json::from_slice(&json)
            .map_err(|e| fail(format!("is no safetensors file: its header is not as it should be ({e}).")))?;
        let data = metadata.tensors().values().map(|t| t.data_offsets.1 as u64).max().unwrap_or(0);
        let expected = 8 + header + data;
        if size < expected {
            return Err(fail(format!(
                "is truncated: it has {size} bytes, its header promises {expected}. Download it again."
            )));
        }
        Ok(Self { path: path.to_owned(), file: RefCell::new(file), metadata, data_start: 8 + header })
    }

    /// A cursor at the root, giving tensors of `dtype` on `device`.
    pub(crate) fn root(&self, dtype: DType, device: &Device) -> Cursor<'_> {
        Cursor { checkpoint: self, prefix: String::new(), dtype, device: device.clone() }
    }

    fn read(&self, name: &str) -> Result<Tensor> {
        let fail = |message: String| EngineError::model(&self.path, message);
        let info = self.metadata.info(name).ok_or_else(|| {
            fail(format!("lacks the tensor {name}; the file does not fit its config.json."))
        })?;
        let dtype = DType::try_from(info.dtype)
            .map_err(|_| fail(format!("holds {name} as {:?}, which is not supported.", info.dtype)))?;
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0u8; end - start];
        let mut file = self.file.borrow_mut();
        file.seek(SeekFrom::Start(self.data_start + start as u64))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|e| fail(format!("cannot be read at {name} ({e}).")))?;
        Ok(Tensor::from_raw_buffer(&bytes, dtype, &info.shape, &Device::Cpu)?)
    }
}

/// Whether the first bytes are those of a pickle or of the zip file that `torch.save` makes.
fn is_pickle(head: &[u8; 8]) -> bool {
    head.starts_with(b"PK\x03\x04") || (head[0] == 0x80 && (2..=5).contains(&head[1]) && head[2] != 0)
}

/// A place in a checkpoint: `cursor.pp("down_blocks").pp(0)`.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    checkpoint: &'a Checkpoint,
    prefix: String,
    dtype: DType,
    device: Device,
}

impl Cursor<'_> {
    /// One level deeper.
    pub(crate) fn pp(&self, name: impl Display) -> Self {
        let mut deeper = self.clone();
        deeper.prefix = self.key(name);
        deeper
    }

    /// Whether the tensor `name` exists here.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.checkpoint.metadata.info(&self.key(name)).is_some()
    }

    /// The tensor `name` in the compute dtype, on the device.
    ///
    /// # Errors
    /// It is not there or has another shape; the message names file, tensor, expected and found shape.
    pub(crate) fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        let (key, shape) = (self.key(name), shape.into());
        let tensor = self.checkpoint.read(&key)?;
        if tensor.dims() != shape.dims() {
            return Err(EngineError::model(
                &self.checkpoint.path,
                format!(
                    "the tensor {key} has shape {:?}, but config.json asks for {:?}; file and config do not \
                     belong together.",
                    tensor.dims(),
                    shape.dims()
                ),
            ));
        }
        Ok(tensor.to_dtype(self.dtype)?.to_device(&self.device)?)
    }

    fn key(&self, name: impl Display) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }
}

/// The weights file of `folder`: `stem.safetensors`, or else its half-precision variant.
///
/// # Errors
/// There is none; the message says what was found instead.
pub(crate) fn find_weights(folder: &Path, stem: &str) -> Result<PathBuf> {
    for name in [format!("{stem}.safetensors"), format!("{stem}.fp16.safetensors")] {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    let wanted = folder.join(format!("{stem}.safetensors"));
    if folder.join(format!("{stem}.safetensors.index.json")).is_file() {
        return Err(EngineError::model(
            &wanted,
            "is split into several files, which is not supported; merge them (in Python: save_pretrained with \
             `max_shard_size=\"100GB\"`).",
        ));
    }
    for pickle in ["bin", "fp16.bin", "ckpt", "pt", "pth"] {
        let found = folder.join(format!("{stem}.{pickle}"));
        let plain = folder.join(format!("pytorch_model.{pickle}"));
        if let Some(found) = [found, plain].into_iter().find(|p| p.is_file()) {
            return Err(EngineError::model(&found, format!("is a PyTorch pickle. {SAFETENSORS_ONLY}")));
        }
    }
    Err(EngineError::model(&wanted, "is missing. A model folder in Hugging Face layout has this file."))
}
