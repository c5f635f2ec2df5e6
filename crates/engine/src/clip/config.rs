//! `config.json` of a CLIP, with transformers' defaults for what is absent.

use std::path::Path;

use serde::Deserialize;

use crate::{EngineError, Result, json, ops::Activation};

/// CLIPConfig without its text tower.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct ClipConfig {
    pub(crate) projection_dim: usize,
    pub(crate) vision_config: VisionConfig,
}

/// Sizes of CLIP's image tower. Fields have transformers' names.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct VisionConfig {
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) num_channels: usize,
    pub(crate) image_size: usize,
    pub(crate) patch_size: usize,
    pub(crate) hidden_act: Activation,
    pub(crate) layer_norm_eps: f64,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self { projection_dim: 512, vision_config: VisionConfig::default() }
    }
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
        }
    }
}

/// Bounds of what a config may ask for, far above every model of the family.
const MAX_WIDTH: usize = 1 << 16;
const MAX_LAYERS: usize = 256;
const MAX_SIDE: usize = 4096;

impl ClipConfig {
    /// Reads and checks `folder`'s config.json.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let config: Self = json::read(&path)?;
        match config.problem() {
            Some(message) => Err(EngineError::model(&path, message)),
            None => Ok(config),
        }
    }

    fn problem(&self) -> Option<String> {
        let vision = &self.vision_config;
        for (name, value, most) in [
            ("projection_dim", self.projection_dim, MAX_WIDTH),
            ("hidden_size", vision.hidden_size, MAX_WIDTH),
            ("intermediate_size", vision.intermediate_size, MAX_WIDTH),
            ("num_hidden_layers", vision.num_hidden_layers, MAX_LAYERS),
            ("num_attention_heads", vision.num_attention_heads, MAX_WIDTH),
            ("num_channels", vision.num_channels, 3),
            ("image_size", vision.image_size, MAX_SIDE),
            ("patch_size", vision.patch_size, vision.image_size.min(MAX_SIDE)),
        ] {
            if !(1..=most).contains(&value) {
                return Some(format!("has a {name} of {value}; 1 to {most} can be computed."));
            }
        }
        let (width, heads) = (vision.hidden_size, vision.num_attention_heads);
        if !width.is_multiple_of(heads) {
            return Some(format!("has a hidden_size of {width} that {heads} attention heads do not divide."));
        }
        (vision.num_channels != 3)
            .then(|| format!("is for images of {} channels, not 3.", vision.num_channels))
    }
}
