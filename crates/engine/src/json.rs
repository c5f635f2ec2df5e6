//! Reading the folder's JSON files.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{EngineError, Result};

/// Reads `path` as `T`.
///
/// # Errors
/// The file is missing, no JSON, or holds a value of another kind; the message names the place.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        let message = match e.kind() {
            std::io::ErrorKind::NotFound => {
                "is missing. A model folder in Hugging Face layout has this file.".to_owned()
            }
            _ => format!("cannot be read ({e})."),
        };
        EngineError::model(path, message)
    })?;
    // By way of an object: serde would take an array for a struct whose fields all have defaults.
    serde_json::from_str::<Map<String, Value>>(&text)
        .and_then(|object| serde_json::from_value(Value::Object(object)))
        .map_err(|e| EngineError::model(path, format!("is not the JSON that is expected here ({e}).")))
}

/// One value for every block, or one per block: diffusers' configs allow both.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T: Copy> OneOrMany<T> {
    /// The value of block `i` of `n`.
    pub(crate) fn get(&self, i: usize) -> Option<T> {
        match self {
            Self::One(value) => Some(*value),
            Self::Many(values) => values.get(i).copied(),
        }
    }

    /// Whether there is a value for each of `n` blocks.
    pub(crate) fn fits(&self, n: usize) -> bool {
        match self {
            Self::One(_) => true,
            Self::Many(values) => values.len() == n,
        }
    }
}
