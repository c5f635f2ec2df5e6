//! Adapters: small files that change a model's weights.
//!
//! One file for each question: what the bytes are (`file`), what the names mean (`keys`, `prefix`, `role`), what a layer
//! adds (`kind`, `layer`, `change`, `product`, `rotation`), which model it was made for (`family`), what the model's modules
//! are called (`visit`, `table`), how it goes onto a model (`targets`, `apply`, `receipt`), into other programs' files
//! (`export`) and into a training (`factors`), which weights that makes (`fingerprint`), and which files stay in memory
//! (`pool`). A change is always computed from the pristine base, in f32, so that no
//! sequence of switches leaves anything behind.

mod apply;
mod change;
mod export;
mod factors;
mod family;
mod file;
mod fingerprint;
mod folder;
mod format;
mod formulas;
mod keys;
mod kind;
mod layer;
mod metadata;
mod ordered;
mod patterns;
mod pool;
mod prefix;
mod product;
mod receipt;
mod role;
mod rotation;
mod table;
mod targets;
mod visit;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use candle_core::Tensor;
use sha2::{Digest as _, Sha256};

pub(crate) use apply::apply_at;
pub use apply::{apply, apply_each};
pub use export::{ExportFile, ExportFormat};
pub use family::Family;
pub use fingerprint::fingerprint;
pub(crate) use fingerprint::{Changed, Prints};
pub use folder::one_file;
pub use format::{Component, Format};
pub use kind::Kind;
pub use pool::AdapterPool;
pub use receipt::{AppliedLayer, Receipt, SkippedLayer, Strength};
pub use table::ModuleTable;
pub(crate) use targets::Targets;
pub use visit::{Visit, visit, visit_weights};

use self::{keys::Key, kind::LayerTensors, layer::Layer, metadata::Metadata, role::TensorRole};
use crate::{EngineError, Result, checkpoint::WeightFile};

/// The tensors of a file, all finite; the error is a sentence about it.
pub(crate) fn tensors(bytes: &[u8]) -> std::result::Result<BTreeMap<String, Tensor>, String> {
    Ok(file::parse(bytes)?.tensors)
}

/// Whether a tensor's name is one that adapters have.
pub(crate) fn is_adapter_key(name: &str) -> bool {
    keys::parse(name).is_some()
}

/// A file that has been read and found consistent in itself; whether it fits a model shows in [`apply`].
#[derive(Debug)]
pub struct Adapter {
    path: PathBuf,
    hash: String,
    modules: Vec<Module>,
    embeddings: BTreeMap<String, Tensor>,
    unknown: Vec<String>,
    metadata: Metadata,
    family: Family,
    bytes: usize,
    /// How many tensors it holds.
    tensors: usize,
}

/// One module that the file changes.
#[derive(Debug)]
struct Module {
    /// As the file names it.
    name: String,
    flat: String,
    component: Option<Component>,
    format: Format,
    layer: Layer,
    /// How many tensors of the file it is made of.
    tensors: usize,
}

/// What tells modules apart: the model and the flattened path.
type ModuleId = (Option<Component>, String);

/// The tensors of one module.
struct Found {
    /// Of the first of them.
    key: Key,
    tensors: LayerTensors,
    /// What the file calls them.
    names: BTreeMap<TensorRole, String>,
}

impl Found {
    fn new(key: Key) -> Self {
        Self { key, tensors: LayerTensors::new(), names: BTreeMap::new() }
    }
}

/// One module of a file, for people.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ModuleInfo {
    /// As the file names it.
    pub name: String,
    /// How the change is stored.
    pub kind: Kind,
    /// Whether it also rescales the weight (DoRA).
    pub dora: bool,
    /// Rank of the change.
    pub rank: usize,
    /// Alpha as stored, or the rank where none is.
    pub alpha: f64,
    /// What the change is multiplied with at strength 1.
    pub scale: f64,
    /// Outputs, and inputs times kernel size.
    pub shape: (usize, usize),
}

impl Adapter {
    /// Reads a `.safetensors` file, or a PEFT folder: `adapter_model.safetensors` beside `adapter_config.json`, or
    /// such a folder for each of `unet` and `text_encoder`.
    ///
    /// # Errors
    /// [`EngineError::Adapter`]: no file, a pickle, truncated, no adapter, mis-shaped factors, NaN, … The message
    /// says what was found and what to do.
    pub fn read(path: &Path) -> Result<Self> {
        if path.is_dir() { folder::read(path) } else { folder::read_file(path) }
    }

    /// Reads the content of a file; `path` is only for messages.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self> {
        Self::parse(path, bytes, None)
    }

    fn parse(path: &Path, bytes: &[u8], peft_config: Option<&str>) -> Result<Self> {
        let fail = |message: String| EngineError::adapter(path, message);
        let file = file::parse(bytes).map_err(fail)?;
        let metadata = Metadata::new(file.metadata, peft_config).map_err(fail)?;
        let (mut found, mut unknown) = (BTreeMap::<ModuleId, Found>::new(), Vec::new());
        let tensors = file.tensors.len();
        let size = file.tensors.values().map(|t| t.elem_count() * t.dtype().size_in_bytes()).sum();
        let family = Family::of_names(file.tensors.keys().map(String::as_str));
        let mut embeddings = BTreeMap::new();
        for (name, tensor) in file.tensors {
            if let Some(word) = keys::embedding(&name)
                && let Ok(vectors) = tensor.unsqueeze(0).and_then(|t| t.flatten_to(tensor.rank().max(1) - 1))
                && vectors.rank() == 2
            {
                if embeddings.insert(word.to_owned(), vectors).is_some() {
                    return Err(fail(format!("holds the textual inversion {word:?} twice.")));
                }
                continue;
            }
            let Some(key) = keys::parse(&name) else {
                unknown.push(name);
                continue;
            };
            let role = key.role;
            let id = (key.component, key.flat.clone());
            let Found { tensors, names, .. } = found.entry(id).or_insert_with(|| Found::new(key));
            if let Some(first) = names.insert(role, name.clone()) {
                return Err(fail(format!("holds the same twice, as {first:?} and as {name:?}.")));
            }
            tensors.insert(role, tensor);
        }
        let mut modules = Vec::with_capacity(found.len());
        for (_, Found { key, tensors: layer_tensors, names }) in found {
            // `.weight` alone is a tensor of any model; beside `.on_input` it is (IA)³.
            let is_none =
                layer_tensors.keys().all(|role| matches!(role, TensorRole::Alpha | TensorRole::Ia3));
            if is_none {
                unknown.extend(names.into_values());
                continue;
            }
            let rule = metadata.scale_rule(key.component, &key.path);
            let tensors = names.len();
            let layer = Layer::new(layer_tensors, rule)
                .map_err(|what| fail(format!("is damaged: {:?} {what}.", key.module).replacen('"', "", 2)))?;
            let keep = layer.kind() == Kind::Lora || key.format == Format::Peft;
            let format = if keep { key.format } else { Format::Lycoris };
            let keys::Key { module: name, flat, component, .. } = key;
            modules.push(Module { name, flat, component, format, layer, tensors });
        }
        unknown.sort_unstable();
        if modules.is_empty() {
            return Err(fail(family::no_adapter(&unknown)));
        }
        let numbered = ordered::resolve(&mut modules).map(Family::of_width);
        let family = family.or_else(|| Family::of_widths(&modules)).or(numbered).unwrap_or(Family::Unknown);
        let hash = hex::encode(Sha256::digest(bytes));
        Ok(Self {
            path: path.to_owned(),
            hash,
            modules,
            embeddings,
            unknown,
            metadata,
            family,
            bytes: size,
            tensors,
        })
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// sha256 of the file, 64 hex digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Bytes of its factors in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The program whose names it uses; several when it is mixed.
    pub fn formats(&self) -> Vec<Format> {
        let mut formats: Vec<Format> = self.modules.iter().map(|module| module.format).collect();
        formats.sort_unstable();
        formats.dedup();
        formats
    }

    /// The models it was made for, as far as its names and shapes tell.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Every module that it changes.
    pub fn modules(&self) -> Vec<ModuleInfo> {
        let info = |Module { name, layer, .. }: &Module| ModuleInfo {
            name: name.clone(),
            kind: layer.kind(),
            dora: layer.is_dora(),
            rank: layer.rank,
            alpha: layer.alpha,
            scale: layer.scale,
            shape: layer.shape().unwrap_or_default(),
        };
        self.modules.iter().map(info).collect()
    }

    /// Textual inversions that the file carries along: by their word, [vectors, width], in the file's dtype.
    pub fn embeddings(&self) -> &BTreeMap<String, Tensor> {
        &self.embeddings
    }

    /// Tensors whose names belong to no known format.
    pub fn unknown_keys(&self) -> &[String] {
        &self.unknown
    }

    /// The file's own metadata: trainer settings, tag frequencies, titles.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        self.metadata.entries()
    }
}
/// The words of the embeddings bundled in an adapter file, each with its number of vectors. Reads the header alone.
///
/// # Errors
/// The file is not a safetensors file.
pub fn bundled_words(path: &Path) -> Result<Vec<(String, u32)>> {
    let file = WeightFile::open(path)?;
    let word = |name: &String| {
        let vectors = match file.info(name)?.shape.as_slice() {
            [vectors, _] => u32::try_from(*vectors).ok()?,
            _ => 1,
        };
        Some((keys::embedding(name)?.to_owned(), vectors))
    };
    Ok(file.names().iter().filter_map(word).collect())
}
