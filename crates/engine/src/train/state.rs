//! Checkpoint files: the whole state of a run, so that a resumed run produces the same bits as an uninterrupted one.

use std::{borrow::Cow, collections::BTreeMap};

use adire_protocol::TrainingConfig;
use candle_core::{Device, Tensor};
use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use super::{
    adamw::AdamW,
    parameters::{Parameters, values},
};
use crate::{EngineError, Result, save};

/// Key of the file's metadata that holds [`Header`].
const KEY: &str = "adire_training";

/// Metadata of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    /// Configuration; a checkpoint with another one is refused.
    pub(super) config: TrainingConfig,
    /// Optimizer steps done.
    #[serde(rename = "updates")]
    pub(super) steps_done: u32,
    /// Micro-steps done.
    pub(super) micro_steps: u64,
    /// Factor on the learning rate after a rollback.
    pub(super) rate_factor: f64,
    /// Whether the run has rolled back once.
    pub(super) halved: bool,
}

struct Values(Vec<usize>, Vec<f32>);

impl View for &Values {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.0
    }

    fn data(&self) -> Cow<'_, [u8]> {
        bytemuck::cast_slice(&self.1).into()
    }

    fn data_len(&self) -> usize {
        4 * self.1.len()
    }
}

/// All tensors of the state with their names.
fn tensors<'a>(parameters: &'a Parameters, adamw: &'a AdamW) -> impl Iterator<Item = (String, Tensor)> + 'a {
    let factors = parameters.factors().map(|factor| factor.as_detached_tensor()).enumerate();
    let moments = adamw.first.iter().cloned().enumerate().map(|(i, t)| (format!("first.{i}"), t));
    let squares = adamw.second.iter().cloned().enumerate().map(|(i, t)| (format!("second.{i}"), t));
    factors.map(|(i, t)| (format!("factor.{i}"), t)).chain(moments).chain(squares)
}

/// Serialises the state to a safetensors file.
pub(super) fn write(header: &Header, parameters: &Parameters, adamw: &AdamW) -> Result<Vec<u8>> {
    let held = tensors(parameters, adamw)
        .map(|(name, tensor)| Ok((name, Values(tensor.dims().to_vec(), values(&tensor)?))))
        .collect::<Result<Vec<_>>>()?;
    let text = serde_json::to_string(header).map_err(candle_core::Error::wrap)?;
    let views = held.iter().map(|(name, values)| (name.as_str(), values));
    save::safetensors(views, BTreeMap::from([(KEY.to_owned(), text)]))
}

/// Loads the state in `bytes` into `parameters` and `adamw`; nothing changes if it does not fit.
///
/// # Errors
/// One sentence: not a checkpoint, damaged, or of another model or configuration.
pub(super) fn read(
    bytes: &[u8],
    config: &TrainingConfig,
    parameters: &Parameters,
    adamw: &mut AdamW,
    device: &Device,
) -> Result<Header> {
    let refuse = |what: String| EngineError::Request(format!("the checkpoint cannot be used: {what}"));
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| refuse(format!("it is damaged ({error})")))?;
    let text = metadata.metadata().as_ref().and_then(|texts| texts.get(KEY));
    let text = text.ok_or_else(|| refuse("it was not written by a training run".to_owned()))?;
    let header: Header = serde_json::from_str(text)
        .map_err(|error| refuse(format!("it was written by another version of the program ({error})")))?;
    if header.config != *config {
        let differing = differing(&header.config, config);
        return Err(refuse(format!("it belongs to a run with other settings{differing}")));
    }
    let file = SafeTensors::deserialize(bytes).map_err(|error| refuse(format!("it is damaged ({error})")))?;
    let mut found = Vec::new();
    for (name, present) in tensors(parameters, adamw) {
        let view =
            file.tensor(&name).map_err(|_| refuse(format!("it lacks {name}; it is of another model")))?;
        if view.shape() != present.dims() || view.dtype() != Dtype::F32 {
            return Err(refuse(format!("{name} has another shape; it is of another model")));
        }
        // The file's bytes need not lie at a multiple of four.
        let values: Vec<f32> =
            view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        found.push(Tensor::from_vec(values, present.dims(), device)?);
    }
    let count = adamw.first.len();
    for (factor, value) in parameters.factors().zip(&found) {
        factor.set(value)?;
    }
    adamw.first = found[count..2 * count].to_vec();
    adamw.second = found[2 * count..].to_vec();
    adamw.steps_done = header.steps_done;
    Ok(header)
}

/// Lists the settings that differ: `: rank 4 there, 3 here`.
fn differing(there: &TrainingConfig, here: &TrainingConfig) -> String {
    let fields = |config: &TrainingConfig| match serde_json::to_value(config) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let there = fields(there);
    let changed = fields(here).into_iter().filter(|(name, value)| there.get(name) != Some(value));
    let named: Vec<String> = changed
        .map(|(name, here)| {
            format!("{name} {} there, {here} here", there.get(&name).unwrap_or(&serde_json::Value::Null))
        })
        .collect();
    if named.is_empty() { String::new() } else { format!(": {}", named.join("; ")) }
}
