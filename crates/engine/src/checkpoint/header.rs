//! One safetensors file whose header has been checked against its size.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Metadata, TensorInfo};

use super::SAFETENSORS_ONLY;
use crate::{EngineError, Result};

/// Longest header that is believed; SD 1.5's UNet needs 90 kB.
const MAX_HEADER: u64 = 64 << 20;

/// An open file; only its header is in memory.
#[derive(Debug)]
pub(crate) struct WeightFile {
    path: PathBuf,
    file: Mutex<File>,
    metadata: Metadata,
    data_start: u64,
}

impl WeightFile {
    /// Opens `path` and checks that header and size fit together: every tensor lies where the one before it ends,
    /// and has as many bytes as its shape needs.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let fail = |message: String| EngineError::model(path, message);
        let mut file = File::open(path).map_err(|e| fail(format!("cannot be opened ({e}).")))?;
        let size = file.metadata().map_err(|e| fail(format!("cannot be read ({e}).")))?.len();
        let mut head = [0u8; 8];
        if size < 8 || file.read_exact(&mut head).is_err() {
            return Err(fail(format!(
                "is not a safetensors file: it has only {size} bytes. Download it again."
            )));
        }
        if is_pickle(&head) {
            return Err(fail(format!("is a PyTorch pickle, whatever its name says. {SAFETENSORS_ONLY}")));
        }
        let header = u64::from_le_bytes(head);
        if header > MAX_HEADER {
            return Err(fail(
                "is not a safetensors file: its first eight bytes name an impossible header size.".to_owned(),
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
        let metadata: Metadata = serde_json::from_slice(&json).map_err(|e| {
            fail(format!("is not a safetensors file: its header is not as it should be ({e})."))
        })?;
        let expected = (8 + header).saturating_add(metadata.data_len() as u64);
        if size < expected {
            return Err(fail(format!(
                "is truncated: it has {size} bytes, its header promises {expected}. Download it again."
            )));
        }
        Ok(Self { path: path.to_owned(), file: Mutex::new(file), metadata, data_start: 8 + header })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.metadata.info(name)
    }

    /// The names of all tensors.
    pub(crate) fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    /// The header's `__metadata__`.
    pub(crate) fn notes(&self) -> Option<&HashMap<String, String>> {
        self.metadata.metadata().as_ref()
    }

    /// The type of a tensor's numbers; `None` when there is none of that name.
    ///
    /// # Errors
    /// The type is not supported.
    pub(crate) fn dtype(&self, name: &str) -> Result<Option<DType>> {
        let Some(info) = self.info(name) else { return Ok(None) };
        let dtype = DType::try_from(info.dtype).map_err(|_| {
            let message = format!("holds {name} as {:?}, which is not supported.", info.dtype);
            EngineError::model(&self.path, message)
        })?;
        Ok(Some(dtype))
    }

    /// The tensor as it is stored, on the CPU; `None` when there is none of that name.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Tensor>> {
        let fail = |message: String| EngineError::model(&self.path, message);
        let (Some(info), Some(dtype)) = (self.info(name), self.dtype(name)?) else { return Ok(None) };
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0u8; end - start];
        // Nothing is left half done: every reader seeks first.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.data_start + start as u64))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|e| fail(format!("cannot be read at {name} ({e}).")))?;
        drop(file);
        Ok(Some(Tensor::from_raw_buffer(&bytes, dtype, &info.shape, &Device::Cpu)?))
    }
}

/// Whether the first bytes are those of a pickle or of the zip file that `torch.save` makes.
fn is_pickle(head: &[u8; 8]) -> bool {
    head.starts_with(b"PK\x03\x04") || (head[0] == 0x80 && (2..=5).contains(&head[1]) && head[2] != 0)
}
