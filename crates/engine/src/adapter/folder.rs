//! Adapters on disk: one file, a PEFT folder, or a PEFT folder for each model of the pipeline.

use std::{collections::BTreeMap, path::Path};

use sha2::{Digest as _, Sha256};

use candle_core::Tensor;
use serde_json::{Map, Value};

use super::{Adapter, Component, file};
use crate::{EngineError, Result, save};

/// The names that PEFT gives to its two files.
const WEIGHTS: &str = "adapter_model.safetensors";
const CONFIG: &str = "adapter_config.json";

/// Longest config that is read; one that names every module of SD 1.5 has 100 kB.
const MAX_CONFIG: u64 = 16 << 20;

/// Folders that hold the adapter of one model each.
const PARTS: [(&str, Component); 2] = [("unet", Component::Unet), ("text_encoder", Component::TextEncoder)];

pub(super) fn read_file(path: &Path) -> Result<Adapter> {
    let config = match path.file_name() {
        Some(name) if name == WEIGHTS => config(&path.with_file_name(CONFIG))?,
        _ => None,
    };
    Adapter::parse(path, &file::bytes(path)?, config.as_deref())
}

pub(super) fn read(folder: &Path) -> Result<Adapter> {
    if folder.join(WEIGHTS).is_file() {
        return read_one(folder);
    }
    let mut parts = Vec::new();
    for (name, component) in PARTS {
        let inner = folder.join(name);
        if inner.join(WEIGHTS).is_file() {
            parts.push((component, read_one(&inner)?));
        }
    }
    let pickle = [folder.to_owned(), folder.join("unet"), folder.join("text_encoder")]
        .into_iter()
        .map(|folder| folder.join("adapter_model.bin"))
        .find(|path| path.is_file());
    match (parts.is_empty(), pickle) {
        (false, _) => Ok(joined(folder, parts)),
        (true, Some(pickle)) => Err(EngineError::adapter(
            &pickle,
            "is a pickle. Such a file can run any code when it is opened, so it is not. Save the adapter again with \
             save_pretrained(…, safe_serialization=True).",
        )),
        (true, None) => Err(EngineError::adapter(
            folder,
            format!(
                "holds no adapter: a PEFT folder has {WEIGHTS} and {CONFIG}, itself or in its folders unet and \
                 text_encoder."
            ),
        )),
    }
}

/// A folder without its config would be applied with a wrong scale.
fn read_one(folder: &Path) -> Result<Adapter> {
    let (weights, path) = (folder.join(WEIGHTS), folder.join(CONFIG));
    let Some(config) = config(&path)? else {
        let message = format!("is missing; it says how strongly {WEIGHTS} is to be applied.");
        return Err(EngineError::adapter(&path, message));
    };
    Adapter::parse(&weights, &file::bytes(&weights)?, Some(&config))
}

/// A PEFT folder as one file, whatever its kind: tensors as they are, and the configs in the metadata.
///
/// # Errors
/// As [`Adapter::read`].
pub fn one_file(folder: &Path) -> Result<Vec<u8>> {
    let parts = [("", folder.to_owned())].into_iter();
    let parts = parts.chain(PARTS.map(|(name, _)| (name, folder.join(name))));
    let (mut tensors, mut scales) = (BTreeMap::<String, Tensor>::new(), Map::new());
    for (name, folder) in parts {
        let weights = folder.join(WEIGHTS);
        if !weights.is_file() {
            continue;
        }
        let prefix = if name.is_empty() { String::new() } else { format!("{name}.") };
        let fail = |message: String| EngineError::adapter(&weights, message);
        let found = file::parse(&file::bytes(&weights)?).map_err(fail)?;
        tensors.extend(found.tensors.into_iter().map(|(key, tensor)| (format!("{prefix}{key}"), tensor)));
        let text = config(&folder.join(CONFIG))?.unwrap_or_default();
        let own: Map<String, Value> = serde_json::from_str(&text).map_err(|error| {
            fail(format!("lies beside an adapter_config.json that cannot be read ({error})."))
        })?;
        scales.extend(own.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)));
    }
    let metadata = BTreeMap::from([
        ("format".to_owned(), "pt".to_owned()),
        ("lora_adapter_metadata".to_owned(), Value::Object(scales).to_string()),
    ]);
    save::safetensors(tensors.iter(), metadata)
        .map_err(|error| EngineError::adapter(folder, format!("cannot be written as one file ({error}).")))
}

fn config(path: &Path) -> Result<Option<String>> {
    let fail = |message: String| EngineError::adapter(path, message);
    match std::fs::metadata(path) {
        Err(_) => Ok(None),
        Ok(metadata) if metadata.len() > MAX_CONFIG => {
            Err(fail(format!("has {} bytes, far too many for a config.", metadata.len())))
        }
        Ok(_) => std::fs::read_to_string(path)
            .map(Some)
            .map_err(|error| fail(format!("cannot be read ({error})."))),
    }
}

/// One adapter of several; its hash is over their hashes, as for a model's files.
fn joined(folder: &Path, parts: Vec<(Component, Adapter)>) -> Adapter {
    let mut lines = Sha256::new();
    let mut whole: Option<Adapter> = None;
    for (component, mut part) in parts {
        let name = part.path.strip_prefix(folder).unwrap_or(&part.path).display().to_string();
        lines.update(format!("{}  {name}\n", part.hash));
        for module in &mut part.modules {
            module.component = Some(component);
        }
        whole = Some(match whole {
            None => part,
            Some(mut whole) => {
                whole.modules.extend(part.modules);
                whole.embeddings.extend(part.embeddings);
                whole.unknown.extend(part.unknown);
                whole.bytes += part.bytes;
                whole.tensors += part.tensors;
                whole
            }
        });
    }
    let hash = hex::encode(lines.finalize());
    match whole {
        Some(whole) => Adapter { path: folder.to_owned(), hash, ..whole },
        // The caller has checked that there is a part.
        None => unreachable!("a folder without parts"),
    }
}
