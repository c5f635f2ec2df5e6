//! Loading a Stable Diffusion folder in Hugging Face layout.

use std::path::{Path, PathBuf};

use adire_protocol::{Limits, ModelInfo, VaeUse};
use candle_core::{DType, Device};
use serde_json::{Map, Value};

use super::{LoadOptions, Pipeline, preview::Preview};
use crate::{
    EngineError, Manifest, Result, SafetyChecker, TextEncoder, Tokenizer, UNet, Vae,
    checkpoint::find_weights,
    hash, json,
    plan::Target,
    sampler::NoiseSchedule,
    vae::{VaeConfig, is_vae_config},
};

/// Components of the folder and their supported classes.
const PARTS: [(&str, &str); 5] = [
    ("text_encoder", "CLIPTextModel"),
    ("tokenizer", "CLIPTokenizer"),
    ("unet", "UNet2DConditionModel"),
    ("vae", "AutoencoderKL"),
    ("scheduler", ""),
];

/// The autoencoder's tensors are never in half precision: activations of some decoders for SD 1.5 leave f16's range,
/// and it runs once where the UNet runs twenty times. A plan on a GPU scales them into that range.
pub(super) const VAE_DTYPE: DType = DType::F32;

/// The loaded components of a pipeline.
pub(super) struct LoadedComponents {
    /// What the parts were read from.
    pub(super) path: PathBuf,
    pub(super) manifest: Manifest,
    pub(super) schedule: NoiseSchedule,
    pub(super) text: TextEncoder,
    pub(super) tokenizer: Tokenizer,
    pub(super) unet: UNet,
    pub(super) vae: Vae,
    /// The VAE's name and hash, where it is not the model's own.
    pub(super) other: Option<VaeUse>,
    pub(super) safety: Option<SafetyChecker>,
    /// The model's name where the manifest has none.
    pub(super) name: Option<String>,
    pub(super) hash: String,
}

pub(super) fn load(folder: &Path, options: &LoadOptions) -> Result<Pipeline> {
    check_index(folder)?;
    let device = options.device.clone();
    let (reading, dtype, target) = (options.reading(), options.tensors(), options.target());
    let target = target.as_ref();
    let mut weights = find_weights(&folder.join("text_encoder"), "model")?;
    weights.extend(find_weights(&folder.join("unet"), "diffusion_pytorch_model")?);
    weights.extend(find_weights(&folder.join("vae"), "diffusion_pytorch_model")?);
    let manifest = Manifest::read(folder)?;
    let load_safety = || SafetyChecker::load(folder, dtype, &device);
    let safety = options.safety_checker.then(load_safety).transpose()?;
    let schedule = NoiseSchedule::read(&folder.join("scheduler").join("scheduler_config.json"))?;
    let text = TextEncoder::load_reading(&folder.join("text_encoder"), dtype, &device, reading)?;
    let tokenizer = Tokenizer::load(&folder.join("tokenizer"), text.positions())?;
    let (vae, other) = match &options.vae {
        None => (Vae::load_on(target, &folder.join("vae"), VAE_DTYPE, &device)?, None),
        Some(path) => other_vae(target, path, &VaeConfig::read(&folder.join("vae"))?, &device)?,
    };
    let unet = UNet::load_reading(&folder.join("unet"), dtype, &device, reading)?;
    let name = || folder.canonicalize().ok()?.file_name()?.to_str().map(str::to_owned);
    let (name, hash) = (name(), hash::base_hash(folder, &weights)?);
    assemble(
        LoadedComponents {
            path: folder.to_owned(),
            manifest,
            schedule,
            text,
            tokenizer,
            unet,
            vae,
            other,
            safety,
            name,
            hash,
        },
        options,
    )
}

/// The VAE at `path`, with its name and hash; `own` is the structure of the model's own.
pub(super) fn other_vae(
    target: Option<&Target>,
    path: &Path,
    own: &VaeConfig,
    device: &Device,
) -> Result<(Vae, Option<VaeUse>)> {
    let (vae, files) = Vae::load_other(target, path, own, VAE_DTYPE, device)?;
    let name = path.canonicalize().ok().and_then(|path| path.file_name()?.to_str().map(str::to_owned));
    let hash = match files.as_slice() {
        [file] => hash::file_hash(file)?,
        several => hash::base_hash(path, several)?,
    };
    Ok((vae, Some(VaeUse { name: name.unwrap_or_else(|| "vae".to_owned()), hash })))
}

/// Checks that the parts belong together and says what is known of the whole.
pub(super) fn assemble(components: LoadedComponents, options: &LoadOptions) -> Result<Pipeline> {
    let LoadOptions { device, gpu, dtype, .. } = options;
    let LoadedComponents { path, manifest, schedule, text, tokenizer, unet, vae, other, safety, name, hash } =
        components;
    check_fit(&path, &text, &tokenizer, &unet, &vae)?;
    let preview = Preview::fit(&vae, device)?;

    let factor = vae.factor() as u32;
    let standard = Limits::default();
    let limits = Limits {
        size_step: standard.size_step.max(factor),
        min_size: standard.min_size.max(factor),
        steps: standard.steps.min(schedule.len() as u32),
        clip_skip: text.layers().max(1) as u32,
        ..standard
    };
    let native = unet.native_size().unwrap_or(64) as u32 * factor;
    let native_size = (native / limits.size_step * limits.size_step).clamp(limits.min_size, limits.max_size);
    let info = ModelInfo {
        name: manifest.name.clone().or(name).unwrap_or_else(|| "model".to_owned()),
        hash,
        device: gpu.as_ref().map_or_else(|| device_name(device), |gpu| gpu.choice().to_string()),
        dtype: dtype.as_str().to_owned(),
        native_size,
        prompt_tokens: tokenizer.room() as u32,
        defaults: manifest.defaults(&path, native_size, &limits)?,
        limits,
        example_prompts: manifest.example_prompts(),
        safety_checker: safety.is_some(),
        vae: other,
    };
    let options = options.clone();
    Ok(Pipeline::new(info, manifest, tokenizer, text, unet, vae, schedule, preview, safety, options))
}

/// Refuses folders of other families before their files give stranger messages.
fn check_index(folder: &Path) -> Result<()> {
    if !folder.is_dir() {
        let message = "is not a folder. A Stable Diffusion model in Hugging Face layout is a folder with \
            model_index.json, text_encoder, tokenizer, unet, vae and scheduler; a checkpoint is one .safetensors file.";
        return Err(EngineError::model(folder, message));
    }
    let path = folder.join("model_index.json");
    if !path.is_file() && is_vae_config(&folder.join("config.json")) {
        let message = "is a VAE, not a whole model. Load a model, and this folder beside it (--vae).";
        return Err(EngineError::model(folder, message));
    }
    let index: Map<String, Value> = json::read(&path)?;
    for (part, wanted) in PARTS {
        let class = index.get(part).and_then(|entry| entry.get(1)).and_then(Value::as_str);
        let Some(class) = class else {
            return Err(EngineError::model(
                &path,
                format!("names no {part}; this is not a Stable Diffusion 1.x model."),
            ));
        };
        // Older folders name CLIPTokenizerFast or the like; the files are the same.
        if !class.starts_with(wanted) {
            let message = format!("has a {part} of class {class}; Stable Diffusion 1.x has {wanted}.");
            return Err(EngineError::model(&path, message));
        }
    }
    match index.iter().find(|(name, entry)| name.ends_with("_2") && !entry[1].is_null()) {
        Some((name, _)) => {
            let message = format!("names a {name}: this is Stable Diffusion XL or another family, not 1.x.");
            Err(EngineError::model(&path, message))
        }
        None => Ok(()),
    }
}

/// Parts that were trained apart do not fit together.
fn check_fit(folder: &Path, text: &TextEncoder, tokenizer: &Tokenizer, unet: &UNet, vae: &Vae) -> Result<()> {
    let config = unet.config();
    let fail = |message: String| Err(EngineError::model(folder, message));
    let (latent, width) = (vae.latent_channels(), text.width());
    if config.in_channels != latent || config.out_channels != latent {
        return fail(format!(
            "has a UNet from {} to {} channels and an autoencoder of {latent}; only plain text-to-image models \
             are known, where all three are equal (inpainting and depth models have more).",
            config.in_channels, config.out_channels
        ));
    }
    let contexts = (0..config.block_out_channels.len()).filter_map(|i| config.cross_attention_dim.get(i));
    if let Some(wanted) = contexts.into_iter().find(|wanted| *wanted != width) {
        return fail(format!("has a text encoder of width {width}, but its UNet attends to width {wanted}."));
    }
    if tokenizer.vocabulary() > text.vocabulary() {
        return fail(format!(
            "has a tokenizer of {} entries, but a text encoder of {}.",
            tokenizer.vocabulary(),
            text.vocabulary()
        ));
    }
    Ok(())
}

fn device_name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cpu => "cpu".to_owned(),
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        candle_core::DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}
