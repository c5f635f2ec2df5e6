//! Opening an adapter file: from bytes of unknown origin to named, finite tensors.
//!
//! Everything is believed only after it has been checked against the size of the file, so that no header can
//! make us allocate more than a few times that size.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    path::Path,
};

use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::TensorView};

use crate::{EngineError, Result};

/// Largest file that is taken for an adapter; rank 128 over the whole of SD 1.5 in f32 is 0.6 GB.
const MAX_BYTES: u64 = 4 << 30;

/// Most dimensions of a tensor in an adapter.
const MAX_DIMS: usize = 4;

/// The content of a safetensors file.
#[derive(Debug)]
pub(super) struct File {
    /// In the dtype of the file, on the CPU, all values finite; in the order of their names.
    pub(super) tensors: BTreeMap<String, Tensor>,
    /// The header's `__metadata__`.
    pub(super) metadata: HashMap<String, String>,
}

/// Reads a whole file after a look at its size.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>> {
    let fail = |error: std::io::Error| EngineError::adapter(path, format!("cannot be read ({error})."));
    let metadata = std::fs::metadata(path).map_err(fail)?;
    if metadata.len() > MAX_BYTES {
        let gigabytes = metadata.len() >> 30;
        return Err(EngineError::adapter(
            path,
            format!("has {gigabytes} GB, far too much for an adapter; is it a whole model?"),
        ));
    }
    std::fs::read(path).map_err(fail)
}

/// Checks and reads `bytes`; the error is a sentence about the file.
pub(super) fn parse(bytes: &[u8]) -> std::result::Result<File, String> {
    if let Some(what) = something_else(bytes) {
        return Err(what);
    }
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| damage(bytes, &error))?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| damage(bytes, &error))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        tensors.insert(name.to_owned(), tensor(name, &view)?);
    }
    Ok(File { tensors, metadata: header.metadata().clone().unwrap_or_default() })
}

/// Recognises what people upload by mistake.
fn something_else(bytes: &[u8]) -> Option<String> {
    let is_pickle = bytes.starts_with(b"PK\x03\x04")
        || matches!(bytes, [0x80, 2..=5, third, ..] if *third != 0)
        || bytes.starts_with(b"\x93NUMPY");
    if is_pickle {
        return Some(
            "is a pickle or zip file (.pt, .bin, .ckpt), whatever its name says. Such a file can run any code \
             when it is opened, so it is not. Convert it to .safetensors, or get the .safetensors version."
                .to_owned(),
        );
    }
    if bytes.starts_with(b"version https://git-lfs") {
        return Some("is only a Git LFS pointer; fetch the file itself (git lfs pull).".to_owned());
    }
    let start = bytes.get(..bytes.len().min(64)).unwrap_or_default().to_ascii_lowercase();
    if start.starts_with(b"<!doctype") || start.starts_with(b"<html") || start.starts_with(b"<?xml") {
        return Some("is a web page, not weights; the download went wrong. Download it again.".to_owned());
    }
    None
}

/// What is wrong with the header, in words.
fn damage(bytes: &[u8], error: &SafeTensorError) -> String {
    let size = bytes.len();
    match error {
        SafeTensorError::HeaderTooSmall => {
            format!("has only {size} bytes, too few for a safetensors file. Download it again.")
        }
        SafeTensorError::InvalidHeaderLength => {
            format!("is truncated: it has {size} bytes, and its header alone needs more. Download it again.")
        }
        SafeTensorError::HeaderTooLarge => {
            "is not a safetensors file: its first eight bytes name an impossible header size.".to_owned()
        }
        SafeTensorError::MetadataIncompleteBuffer => format!(
            "is truncated or damaged: its {size} bytes are not what its header promises. Download it again."
        ),
        other => format!("is not a safetensors file, or damaged: {other}."),
    }
}

fn tensor(name: &str, view: &TensorView<'_>) -> std::result::Result<Tensor, String> {
    let (shape, found) = (view.shape(), view.dtype());
    let (data, kept) = match found {
        Dtype::F8_E4M3 => (Cow::Owned(widened(view.data(), e4m3)), Dtype::F16),
        Dtype::F8_E5M2 => (Cow::Owned(widened(view.data(), |bits| u16::from(bits) << 8)), Dtype::F16),
        Dtype::BOOL => (Cow::Borrowed(view.data()), Dtype::U8),
        other => (Cow::Borrowed(view.data()), other),
    };
    let dtype = DType::try_from(kept).map_err(|_| wrong_dtype(name, found))?;
    if shape.len() > MAX_DIMS {
        return Err(format!(
            "holds {name} with {} dimensions; an adapter's have at most {MAX_DIMS}.",
            shape.len()
        ));
    }
    let tensor = Tensor::from_raw_buffer(&data, dtype, shape, &Device::Cpu)
        .map_err(|error| format!("holds {name}, which cannot be read ({error})."))?;
    // Whole numbers may stand where a single scale is meant (alpha), never in a factor.
    let may_be_whole = tensor.elem_count() == 1;
    if !matches!(dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64) && !may_be_whole {
        return Err(wrong_dtype(name, found));
    }
    match values(&tensor) {
        Ok(values) if values.iter().all(|v| v.is_finite()) => Ok(tensor),
        Ok(_) => Err(format!(
            "holds NaN or infinity in {name}: its training diverged, or the file is damaged. Use an earlier \
             checkpoint of it."
        )),
        Err(_) => Err(wrong_dtype(name, found)),
    }
}

fn wrong_dtype(name: &str, found: Dtype) -> String {
    format!(
        "holds {name} as {found:?}; adapters are read in F32, F16, BF16, F64, F8_E4M3 or F8_E5M2. Save it in one of these."
    )
}

/// Every byte as a number of 16 bits: f16 holds all numbers of both 8-bit formats.
fn widened(data: &[u8], f16: impl Fn(u8) -> u16) -> Vec<u8> {
    data.iter().flat_map(|bits| f16(*bits).to_le_bytes()).collect()
}

/// The bits in f16 of a number with four bits of exponent (bias 7) and three of mantissa, which has no infinity.
fn e4m3(bits: u8) -> u16 {
    let (sign, exponent, mantissa) =
        (u16::from(bits & 0x80) << 8, u16::from(bits >> 3 & 15), u16::from(bits & 7));
    let magnitude = match (exponent, mantissa) {
        (15, 7) => 0x7e00,
        (0, 0) => 0,
        // Below 2⁻⁶ it has no leading one; f16 has down to 2⁻¹⁴.
        (0, _) => {
            let leading = 15 - mantissa.leading_zeros() as u16;
            let fraction = (mantissa << (10 - leading)) & 0x3ff;
            (leading + 6) << 10 | fraction
        }
        _ => (exponent + 8) << 10 | mantissa << 7,
    };
    sign | magnitude
}

fn values(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bit_numbers_are_what_they_are_in_sixteen() {
        let read = |bits: u16| {
            let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f64::from(bits & 0x3ff));
            let magnitude = if exponent == 0 {
                mantissa * 2f64.powi(-24)
            } else {
                (1.0 + mantissa / 1024.0) * 2f64.powi(exponent - 15)
            };
            if bits >> 15 == 1 { -magnitude } else { magnitude }
        };
        for bits in (0..=255u8).filter(|bits| bits & 0x7f != 0x7f) {
            let (exponent, mantissa) = (i32::from(bits >> 3 & 15), f64::from(bits & 7));
            let magnitude = if exponent == 0 {
                mantissa * 2f64.powi(-9)
            } else {
                (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7)
            };
            let expected = if bits >> 7 == 1 { -magnitude } else { magnitude };
            assert_eq!(read(e4m3(bits)), expected, "{bits:#x}");
        }
        for bits in [0x7f, 0xff] {
            assert_eq!(e4m3(bits) & 0x7fff, 0x7e00, "NaN");
        }
    }
}
