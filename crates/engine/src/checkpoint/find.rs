//! Which files of a folder hold a model's weights.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;

use super::SAFETENSORS_ONLY;
use crate::{EngineError, Result, json};

/// Most files that one model may be split into; the largest models of other families have about 200.
const MAX_SHARDS: usize = 1000;

/// `….safetensors.index.json`: which file holds which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

/// The weight files of `folder`, in the order of their names: `stem.safetensors`, or the files that
/// `stem.safetensors.index.json` lists, or else the same in the half-precision variant (`stem.fp16.safetensors`).
///
/// # Errors
/// There are none; the message says what was found instead.
pub(crate) fn find_weights(folder: &Path, stem: &str) -> Result<Vec<PathBuf>> {
    // diffusers and transformers have put the variant in different places of the index's name.
    for (single, indices) in [
        (format!("{stem}.safetensors"), vec![format!("{stem}.safetensors.index.json")]),
        (
            format!("{stem}.fp16.safetensors"),
            ["fp16.safetensors.index", "safetensors.fp16.index", "safetensors.index.fp16"]
                .map(|middle| format!("{stem}.{middle}.json"))
                .to_vec(),
        ),
    ] {
        let path = folder.join(single);
        if path.is_file() {
            return Ok(vec![path]);
        }
        if let Some(index) = indices.iter().map(|name| folder.join(name)).find(|path| path.is_file()) {
            return shards(folder, &index);
        }
    }
    let wanted = folder.join(format!("{stem}.safetensors"));
    for pickle in ["bin", "fp16.bin", "bin.index.json", "ckpt", "pt", "pth"] {
        let found = folder.join(format!("{stem}.{pickle}"));
        let plain = folder.join(format!("pytorch_model.{pickle}"));
        if let Some(found) = [found, plain].into_iter().find(|p| p.is_file()) {
            return Err(EngineError::model(&found, format!("is a PyTorch pickle. {SAFETENSORS_ONLY}")));
        }
    }
    Err(EngineError::model(&wanted, "is missing. A model folder in Hugging Face layout has this file."))
}

fn shards(folder: &Path, index: &Path) -> Result<Vec<PathBuf>> {
    let Index { weight_map } = json::read(index)?;
    let names: BTreeSet<String> = weight_map.into_values().collect();
    if names.is_empty() || names.len() > MAX_SHARDS {
        let message = format!("lists {} files; 1 to {MAX_SHARDS} can be read.", names.len());
        return Err(EngineError::model(index, message));
    }
    let mut paths = Vec::with_capacity(names.len());
    for name in names {
        let mut parts = Path::new(&name).components();
        let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
        if !plain {
            let message =
                format!("lists {name:?} as a file; it must be the name of a file in the same folder.");
            return Err(EngineError::model(index, message));
        }
        let path = folder.join(&name);
        if !name.ends_with(".safetensors") {
            return Err(EngineError::model(&path, format!("is not a safetensors file. {SAFETENSORS_ONLY}")));
        }
        if !path.is_file() {
            let index = index.file_name().unwrap_or_default().to_string_lossy();
            let message = format!("is missing, but {index} lists it. Download it again.");
            return Err(EngineError::model(&path, message));
        }
        paths.push(path);
    }
    Ok(paths)
}
