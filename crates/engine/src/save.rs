//! Writing safetensors files whose bytes depend on their content alone. The library keeps texts in a hash map, so that
//! their order, and with it the file's own hash, would differ from run to run.

use std::collections::BTreeMap;

use candle_core::Error;
use safetensors::View;
use serde_json::{Map, Value};

use crate::Result;

/// Bytes before the header: its length.
const PREFIX: usize = 8;

/// A file with `tensors` and the texts of `metadata`.
///
/// # Errors
/// A tensor cannot be written, or memory runs out.
pub(crate) fn safetensors<S: AsRef<str> + Ord + std::fmt::Display, V: View>(
    tensors: impl IntoIterator<Item = (S, V)>,
    metadata: BTreeMap<String, String>,
) -> Result<Vec<u8>> {
    let file = safetensors::serialize(tensors, None).map_err(Error::wrap)?;
    let length = file.first_chunk::<PREFIX>().map_or(0, |bytes| u64::from_le_bytes(*bytes) as usize);
    let damaged = || Error::Msg("the file that was written has no header".to_owned());
    let header = file.get(PREFIX..PREFIX + length).ok_or_else(damaged)?;
    let mut header: Map<String, Value> = serde_json::from_slice(header).map_err(Error::wrap)?;
    let texts = metadata.into_iter().map(|(key, text)| (key, Value::String(text))).collect();
    header.insert("__metadata__".to_owned(), Value::Object(texts));
    let mut text = serde_json::to_vec(&header).map_err(Error::wrap)?;
    // Tensors begin at a multiple of eight, as the library has it.
    text.resize(text.len().next_multiple_of(8), b' ');
    let data = &file[PREFIX + length..];
    let mut bytes = Vec::with_capacity(PREFIX + text.len() + data.len());
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text);
    bytes.extend(data);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    #[test]
    fn the_same_content_is_the_same_bytes_and_is_read_back() {
        let tensor = Tensor::new(&[1f32, 2.0], &Device::Cpu).unwrap();
        let texts: BTreeMap<_, _> = (0..40).map(|i| (format!("key {i}"), format!("ä \" {i}"))).collect();
        let write = || safetensors([("b", tensor.clone()), ("a", tensor.clone())], texts.clone()).unwrap();
        assert_eq!(write(), write());
        let bytes = write();
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let found: BTreeMap<_, _> = header.metadata().clone().unwrap().into_iter().collect();
        assert_eq!(found, texts);
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.tensor("a").unwrap().data(), [0, 0, 128, 63, 0, 0, 0, 64]);
    }
}
