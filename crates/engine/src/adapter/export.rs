//! Writing an adapter in another program's format. Factors are copied bit for bit; scales are kept exactly. What a
//! format cannot express is refused by name, never approximated.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    str::FromStr,
};

use candle_core::{DType, Device, Tensor};
use serde_json::{Map, Value, json};

use super::{Adapter, Component, Family, Module, ModuleTable, keys::flatten, kind::Kind, role::TensorRole};
use crate::{EngineError, Result, save};

/// Whose files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// kohya's sd-scripts, and LyCORIS for what these do not have: one file.
    Kohya,
    /// diffusers' `load_lora_weights`: one file, scales in its metadata.
    Diffusers,
    /// PEFT: a folder each for `unet` and `text_encoder`.
    Peft,
}

impl FromStr for ExportFormat {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "kohya" => Ok(Self::Kohya),
            "diffusers" => Ok(Self::Diffusers),
            "peft" => Ok(Self::Peft),
            _ => Err(format!("unknown format {text:?}; write kohya, diffusers or peft")),
        }
    }
}

impl ExportFormat {
    fn label(self) -> &'static str {
        match self {
            Self::Kohya => "kohya's format",
            Self::Diffusers => "diffusers' format",
            Self::Peft => "PEFT's format",
        }
    }
}

/// A file to write.
#[derive(Clone, Debug)]
pub struct ExportFile {
    /// Below the folder that is written to; empty where the export is one file.
    pub name: PathBuf,
    /// Its content.
    pub bytes: Vec<u8>,
}

type Tensors = BTreeMap<String, Tensor>;

/// A module of the file with its place in the model.
pub(super) struct Placed<'a> {
    pub(super) component: Component,
    pub(super) path: &'a str,
    pub(super) module: &'a Module,
}

impl Adapter {
    /// The adapter in `format`, its modules named as in `table`.
    ///
    /// # Errors
    /// A module is not in `table`, or is stored in a way that the format has no words for; the message names it.
    pub fn export(&self, format: ExportFormat, table: &ModuleTable) -> Result<Vec<ExportFile>> {
        let placed = self.placed(table)?;
        match format {
            ExportFormat::Kohya => {
                let mut tensors = Tensors::new();
                for placed in &placed {
                    if let Some(what) = kohya(placed, &mut tensors)? {
                        let name = &placed.module.name;
                        return Err(
                            self.refusal(format!("cannot be written in {}: {name} {what}.", format.label()))
                        );
                    }
                }
                Ok(vec![self.file(PathBuf::new(), tensors, None)?])
            }
            ExportFormat::Diffusers => {
                let (mut tensors, mut metadata) = (Tensors::new(), Map::new());
                for (component, prefix) in
                    [(Component::Unet, "unet"), (Component::TextEncoder, "text_encoder")]
                {
                    let Some(config) = self.pairs(&placed, component, format, prefix, &mut tensors)? else {
                        continue;
                    };
                    metadata
                        .extend(config.into_iter().map(|(key, value)| (format!("{prefix}.{key}"), value)));
                }
                Ok(vec![self.file(PathBuf::new(), tensors, Some(Value::Object(metadata).to_string()))?])
            }
            ExportFormat::Peft => {
                let mut files = Vec::new();
                for (component, folder) in
                    [(Component::Unet, "unet"), (Component::TextEncoder, "text_encoder")]
                {
                    let mut tensors = Tensors::new();
                    let prefix = "base_model.model";
                    let Some(config) = self.pairs(&placed, component, format, prefix, &mut tensors)? else {
                        continue;
                    };
                    let text = serde_json::to_string_pretty(&Value::Object(config))
                        .map_err(|error| self.refusal(format!("cannot be written ({error}).")))?;
                    let folder = PathBuf::from(folder);
                    let bytes = (text + "\n").into_bytes();
                    files.push(ExportFile { name: folder.join("adapter_config.json"), bytes });
                    files.push(self.file(folder.join("adapter_model.safetensors"), tensors, None)?);
                }
                Ok(files)
            }
        }
    }

    fn refusal(&self, message: String) -> EngineError {
        EngineError::adapter(&self.path, message)
    }

    pub(super) fn placed<'a>(&'a self, table: &'a ModuleTable) -> Result<Vec<Placed<'a>>> {
        let mut placed = Vec::with_capacity(self.modules.len());
        let mut names = HashMap::new();
        for module in &self.modules {
            let found = table.find(module).and_then(|index| table.path(index));
            let Some((component, path)) = found else {
                let made_for = match self.family {
                    Family::Unknown | Family::Sd1 => String::new(),
                    family => format!(" It was made for {family}."),
                };
                return Err(self.refusal(format!(
                    "changes {}, which the model does not have, so that its name in another format is not known.\
                     {made_for} Name the folder of the model it was made for with --model.",
                    module.name
                )));
            };
            if let Some(first) = names.insert((component, path), &module.name) {
                return Err(self.refusal(format!("changes {path} twice, as {first} and as {}.", module.name)));
            }
            placed.push(Placed { component, path, module });
        }
        Ok(placed)
    }

    /// `lora_A`, `lora_B` and m of one model's modules; the config that says their scales.
    fn pairs(
        &self,
        placed: &[Placed<'_>],
        component: Component,
        format: ExportFormat,
        prefix: &str,
        tensors: &mut Tensors,
    ) -> Result<Option<Map<String, Value>>> {
        let own: Vec<&Placed<'_>> = placed.iter().filter(|placed| placed.component == component).collect();
        if own.is_empty() {
            return Ok(None);
        }
        let cannot = |module: &Module, what: &str| {
            let name = &module.name;
            self.refusal(format!(
                "cannot be written in {}: {name} {what}. kohya's format can hold it.",
                format.label()
            ))
        };
        let with_dora = own.iter().filter(|placed| placed.module.layer.is_dora()).count();
        if let Some(plain) = own.iter().find(|placed| !placed.module.layer.is_dora())
            && with_dora > 0
        {
            let what =
                "has no DoRA magnitude, but other layers have one, and the format has DoRA for all or none";
            return Err(cannot(plain.module, what));
        }
        for Placed { path, module, .. } in &own {
            let layer = &module.layer;
            match layer.kind() {
                Kind::Lora => {}
                Kind::Loha => {
                    return Err(cannot(module, "is a Hadamard product (LoHa), not a pair of factors"));
                }
                Kind::Lokr => {
                    return Err(cannot(module, "is a Kronecker product (LoKr), not a pair of factors"));
                }
                other => {
                    let what = format!("is of kind {}, not a pair of factors", other.name());
                    return Err(cannot(module, &what));
                }
            }
            // PEFT does not translate names, so its folders have those of transformers 5; diffusers knows both.
            let key = match format {
                ExportFormat::Peft => format!("{prefix}.{}", current(path)),
                _ => format!("{prefix}.{path}"),
            };
            for (role, tensor) in layer.tensors() {
                let suffix = match role {
                    TensorRole::Down => "lora_A.weight",
                    TensorRole::Up => "lora_B.weight",
                    TensorRole::Mid => {
                        return Err(cannot(module, "has a third factor between the two (Tucker)"));
                    }
                    _ => return Err(cannot(module, "changes the weight or the bias beside its factors")),
                };
                tensors.insert(format!("{key}.{suffix}"), tensor.clone());
            }
            match layer.output_magnitude() {
                None => {}
                Some(None) => {
                    return Err(cannot(module, "has a DoRA magnitude for each input, not for each output"));
                }
                Some(Some(magnitude)) => {
                    let rows = magnitude.elem_count();
                    let shape = if layer.dims() == 4 { vec![1, rows, 1, 1] } else { vec![rows] };
                    tensors.insert(format!("{key}.lora_magnitude_vector"), magnitude.reshape(shape)?);
                }
            }
        }
        Ok(Some(config(&own, with_dora > 0)))
    }

    fn file(&self, name: PathBuf, tensors: Tensors, scales: Option<String>) -> Result<ExportFile> {
        // What trainers noted stays with the adapter, but for another format's scales.
        let mut metadata: BTreeMap<String, String> = self
            .metadata()
            .iter()
            .filter(|(key, _)| *key != "lora_adapter_metadata")
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        metadata.insert("format".to_owned(), "pt".to_owned());
        metadata.extend(scales.map(|scales| ("lora_adapter_metadata".to_owned(), scales)));
        let bytes = save::safetensors(tensors.iter(), metadata)
            .map_err(|error| self.refusal(format!("cannot be written ({error}).")))?;
        Ok(ExportFile { name, bytes })
    }
}

/// PEFT's `LoraConfig`: the commonest rank and alpha, and patterns for the rest.
fn config(own: &[&Placed<'_>], dora: bool) -> Map<String, Value> {
    let rank = commonest(own.iter().map(|placed| placed.module.layer.rank as f64));
    let alpha = commonest(own.iter().map(|placed| placed.module.layer.plain_alpha()));
    // PEFT compares the ends of paths, so these fit every version of transformers.
    let name = |placed: &Placed<'_>| current(placed.path).to_owned();
    let (mut ranks, mut alphas, mut targets) = (Map::new(), Map::new(), Vec::new());
    for placed in own {
        let layer = &placed.module.layer;
        if layer.rank as f64 != rank {
            ranks.insert(name(placed), number(layer.rank as f64));
        }
        if layer.plain_alpha() != alpha {
            alphas.insert(name(placed), number(layer.plain_alpha()));
        }
        targets.push(Value::String(name(placed)));
    }
    let config = json!({
        "peft_type": "LORA",
        "base_model_name_or_path": null,
        "task_type": null,
        "inference_mode": true,
        "r": number(rank),
        "lora_alpha": number(alpha),
        "rank_pattern": ranks,
        "alpha_pattern": alphas,
        "target_modules": targets,
        "use_rslora": false,
        "use_dora": dora,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": false,
        "init_lora_weights": true,
        "modules_to_save": null,
    });
    match config {
        Value::Object(config) => config,
        _ => Map::new(),
    }
}

/// A module's path in transformers 5, whose text tower has no `text_model`.
fn current(path: &str) -> &str {
    path.strip_prefix("text_model.").unwrap_or(path)
}

fn commonest(values: impl Iterator<Item = f64>) -> f64 {
    let mut counts: Vec<(f64, usize)> = Vec::new();
    for value in values {
        match counts.iter_mut().find(|(known, _)| *known == value) {
            Some((_, count)) => *count += 1,
            None => counts.push((value, 1)),
        }
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or(1.0, |(value, _)| value)
}

/// A whole number without a point: PEFT wants ranks as integers.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}

/// Adds tensors under kohya's names, or LyCORIS' where kohya has none. Returns a clause about the module if neither
/// can express it.
fn kohya(placed: &Placed<'_>, tensors: &mut Tensors) -> Result<Option<&'static str>> {
    let prefix = match placed.component {
        Component::Unet => "lora_unet",
        Component::TextEncoder => "lora_te",
    };
    let (key, layer) = (format!("{prefix}_{}", flatten(placed.path)), &placed.module.layer);
    if layer.ignores_alpha() && layer.scale != 1.0 {
        return Ok(Some("has whole factors and a scale, which LyCORIS' format has no place for"));
    }
    for (role, tensor) in layer.tensors() {
        let Some(suffix) = kohya_suffix(role) else { return Ok(Some("is stored as only PEFT stores it")) };
        tensors.insert(format!("{key}.{suffix}"), tensor.clone());
        if role == TensorRole::Ia3 {
            let on_input = f32::from(layer.shape().is_ok_and(|(rows, _)| rows == 0));
            tensors.insert(format!("{key}.on_input"), Tensor::new(on_input, &Device::Cpu)?);
        }
    }
    if !layer.has_alpha() {
        return Ok(None);
    }
    let alpha = layer.plain_alpha();
    // f32 where it holds the number, as sd-scripts writes it.
    let dtype = if f64::from(alpha as f32) == alpha { DType::F32 } else { DType::F64 };
    tensors.insert(format!("{key}.alpha"), Tensor::new(alpha, &Device::Cpu)?.to_dtype(dtype)?);
    if let Some(magnitude) = layer.magnitude() {
        let magnitude = match layer.output_magnitude() {
            Some(Some(outputs)) => {
                let mut shape = vec![1; layer.dims().max(2)];
                shape[0] = outputs.elem_count();
                outputs.reshape(shape)?
            }
            _ => magnitude.clone(),
        };
        tensors.insert(format!("{key}.dora_scale"), magnitude);
    }
    Ok(None)
}

/// `None` for what PEFT alone writes.
fn kohya_suffix(role: TensorRole) -> Option<&'static str> {
    Some(match role {
        TensorRole::Down => "lora_down.weight",
        TensorRole::Up => "lora_up.weight",
        TensorRole::Mid => "lora_mid.weight",
        TensorRole::Alpha => "alpha",
        TensorRole::Scalar => "scalar",
        TensorRole::Magnitude | TensorRole::DoraScale => "dora_scale",
        TensorRole::Hada1A => "hada_w1_a",
        TensorRole::Hada1B => "hada_w1_b",
        TensorRole::Hada2A => "hada_w2_a",
        TensorRole::Hada2B => "hada_w2_b",
        TensorRole::HadaT1 => "hada_t1",
        TensorRole::HadaT2 => "hada_t2",
        TensorRole::Kron1 => "lokr_w1",
        TensorRole::Kron1A => "lokr_w1_a",
        TensorRole::Kron1B => "lokr_w1_b",
        TensorRole::Kron2 => "lokr_w2",
        TensorRole::Kron2A => "lokr_w2_a",
        TensorRole::Kron2B => "lokr_w2_b",
        TensorRole::KronT2 => "lokr_t2",
        TensorRole::Diff => "diff",
        TensorRole::DiffBias => "diff_b",
        TensorRole::NormWeight => "w_norm",
        TensorRole::NormBias => "b_norm",
        TensorRole::Ia3 => "weight",
        TensorRole::OnInput => "on_input",
        TensorRole::GloraA1 => "a1.weight",
        TensorRole::GloraA2 => "a2.weight",
        TensorRole::GloraB1 => "b1.weight",
        TensorRole::GloraB2 => "b2.weight",
        TensorRole::GloraMid => "bm.weight",
        TensorRole::OftBlocks => "oft_blocks",
        TensorRole::OftDiag => "oft_diag",
        TensorRole::Rescale => "rescale",
        TensorRole::UpBias
        | TensorRole::Ia3Factor
        | TensorRole::OftInput
        | TensorRole::BoftInput
        | TensorRole::BoftScale => return None,
    })
}
