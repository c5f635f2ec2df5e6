//! A VAE that takes the place of the model's own: a folder, or a file under diffusers' names or those of the original
//! code.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use serde_json::{Map, Value};

use super::{Vae, VaeConfig};
use crate::{
    EngineError, Result,
    checkpoint::{Checkpoint, find_weights},
    json,
    plan::Target,
};

const STEM: &str = "diffusion_pytorch_model";

impl Vae {
    /// Loads a VAE from `path`, as [`Self::load_on`], and says which files its weights are. A file without a `config.json` beside it has the
    /// structure of `own`, the model's own VAE.
    ///
    /// # Errors
    /// It is not a VAE, or another structure; the message names the file.
    pub(crate) fn load_other(
        target: Option<&Target>,
        path: &Path,
        own: &VaeConfig,
        dtype: DType,
        device: &Device,
    ) -> Result<(Self, Vec<PathBuf>)> {
        if path.is_dir() {
            // A whole model's folder has its VAE inside.
            let inner = path.join("vae");
            let folder = if inner.join("config.json").is_file() { inner } else { path.to_owned() };
            check_class(&folder.join("config.json"))?;
            return Ok((Self::load_on(target, &folder, dtype, device)?, find_weights(&folder, STEM)?));
        }
        let config = path.with_file_name("config.json");
        let config = match is_vae_config(&config) {
            true => VaeConfig::read(path.parent().unwrap_or(Path::new("")))?,
            false => own.clone(),
        };
        let checkpoint = Checkpoint::of_vae(path, config.block_out_channels.len())?;
        Ok((Self::build(target, config, &checkpoint.root(dtype, device), dtype)?, vec![path.to_owned()]))
    }
}

/// Whether `path` is the config of a VAE.
pub(crate) fn is_vae_config(path: &Path) -> bool {
    let read = || json::read::<Map<String, Value>>(path).ok();
    path.is_file() && read().is_some_and(|config| class(&config) == Some("AutoencoderKL"))
}

fn class(config: &Map<String, Value>) -> Option<&str> {
    config.get("_class_name")?.as_str()
}

fn check_class(path: &Path) -> Result<()> {
    let config: Map<String, Value> = json::read(path)?;
    match class(&config) {
        None | Some("AutoencoderKL") => Ok(()),
        Some(other) => {
            let shown: String = other.chars().take(80).collect();
            let message =
                format!("is the config of {shown:?}, not of a VAE that can be used (AutoencoderKL).");
            Err(EngineError::model(path, message))
        }
    }
}
