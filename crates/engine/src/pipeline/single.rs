//! Loading a single-file checkpoint, as found on model sites.
//!
//! Such a file has weights only. Configs are Stable Diffusion 1.5's own (or those of a folder that is named), and
//! the tokenizer comes from a folder too: CLIP's vocabulary is in no checkpoint.

use std::path::{Path, PathBuf};

use super::{
    LoadOptions, Pipeline,
    folder::{LoadedComponents, VAE_DTYPE, assemble, other_vae},
};
use crate::{
    EngineError, Manifest, Result, TextEncoder, Tokenizer, UNet, Vae,
    checkpoint::SingleFile,
    hash, json,
    sampler::{NoiseSchedule, SchedulerConfig, schedule::BetaSchedule},
    text::TextConfig,
    unet::UNetConfig,
    vae::VaeConfig,
};

pub(super) fn load(path: &Path, options: &LoadOptions) -> Result<Pipeline> {
    if options.safety_checker {
        let message = "is a single-file checkpoint, which has no safety checker, but one is required. Use a model \
            folder that has one, or omit --safety-checker (ADIRE_SAFETY_CHECKER).";
        return Err(EngineError::model(path, message));
    }
    let LoadOptions { device, config, .. } = options;
    let (reading, dtype, target) = (options.reading(), options.tensors(), options.target());
    let target = target.as_ref();
    let file = SingleFile::open(path)?;
    let tokenizer = tokenizer_folder(path, options)?;
    let (scheduler, unet, vae, text) = match config {
        None => (sd15_schedule(), UNetConfig::sd15(), VaeConfig::sd15(), TextConfig::sd15()),
        Some(folder) => (
            json::read(&folder.join("scheduler").join("scheduler_config.json"))?,
            UNetConfig::read(&folder.join("unet"))?,
            VaeConfig::read(&folder.join("vae"))?,
            TextConfig::read(&folder.join("text_encoder"))?,
        ),
    };
    let schedule = NoiseSchedule::new(file.schedule(scheduler))
        .map_err(|message| EngineError::model(config.as_deref().unwrap_or(path), message))?;
    let text = TextEncoder::load_single(&file, &text, dtype, device, reading)?;
    let tokenizer = Tokenizer::load(&tokenizer, text.positions())?;
    let (vae, other) = match &options.vae {
        None => (Vae::load_single(target, &file, vae, VAE_DTYPE, device)?, None),
        Some(path) => other_vae(target, path, &vae, device)?,
    };
    let unet = UNet::load_single(&file, unet, dtype, device, reading)?;
    let name = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
    let (path, manifest, hash) = (path.to_owned(), Manifest::default(), hash::file_hash(path)?);
    assemble(
        LoadedComponents {
            path,
            manifest,
            schedule,
            text,
            tokenizer,
            unet,
            vae,
            other,
            safety: None,
            name,
            hash,
        },
        options,
    )
}

/// Where the vocabulary is: the folder that was named, or its `tokenizer` folder.
fn tokenizer_folder(path: &Path, options: &LoadOptions) -> Result<PathBuf> {
    let Some(named) = options.tokenizer.as_ref().or(options.config.as_ref()) else {
        let message = "has no tokenizer: CLIP's vocabulary is in no checkpoint. Name a folder that holds CLIP's \
            vocab.json and merges.txt (any Stable Diffusion 1.x folder in Hugging Face layout has them in its \
            tokenizer folder) with --tokenizer, or fetch them once with `adire models pull \
            openai/clip-vit-large-patch14 --tokenizer-only`.";
        return Err(EngineError::model(path, message));
    };
    let inner = named.join("tokenizer");
    Ok(if inner.is_dir() { inner } else { named.clone() })
}

/// Stable Diffusion 1.5's own `scheduler_config.json`.
fn sd15_schedule() -> SchedulerConfig {
    SchedulerConfig {
        beta_start: 0.00085,
        beta_end: 0.012,
        beta_schedule: BetaSchedule::ScaledLinear,
        steps_offset: 1,
        set_alpha_to_one: Some(false),
        clip_sample: Some(false),
        ..SchedulerConfig::default()
    }
}
