//! `text_encoder/config.json`, with transformers' defaults for what is absent.

use std::path::Path;

use serde::Deserialize;

use crate::{EngineError, Result, json, ops::Activation};

/// Sizes of CLIP's text tower. Fields have transformers' names.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct TextConfig {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) max_position_embeddings: usize,
    pub(crate) hidden_act: Activation,
    pub(crate) layer_norm_eps: f64,
    use_attention_mask: bool,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
            use_attention_mask: false,
        }
    }
}

/// Bounds of what a config may ask for, far above every model of the family.
const MAX_WIDTH: usize = 1 << 16;
const MAX_LAYERS: usize = 256;

impl TextConfig {
    /// Stable Diffusion 1.5's own (CLIP ViT-L/14): what single-file checkpoints leave out.
    pub(crate) fn sd15() -> Self {
        Self { hidden_size: 768, intermediate_size: 3072, num_attention_heads: 12, ..Self::default() }
    }

    /// Reads and checks `folder`'s config.json.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let config: Self = json::read(&path)?;
        config.check(&path)?;
        Ok(config)
    }

    /// Refuses what this engine does not compute.
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        let (width, heads) = (self.hidden_size, self.num_attention_heads);
        if heads == 0 || !width.is_multiple_of(heads) {
            let message = format!("has a hidden_size of {width} that {heads} attention heads do not divide.");
            return Err(EngineError::model(path, message));
        }
        for (name, value, most) in [
            ("hidden_size", width, MAX_WIDTH),
            ("intermediate_size", self.intermediate_size, MAX_WIDTH),
            ("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS),
            ("max_position_embeddings", self.max_position_embeddings, MAX_WIDTH),
        ] {
            if !(1..=most).contains(&value) {
                let message = format!("has a {name} of {value}; 1 to {most} can be computed.");
                return Err(EngineError::model(path, message));
            }
        }
        if self.max_position_embeddings < 3 {
            return Err(EngineError::model(path, "has fewer than three positions; no word would fit."));
        }
        if self.use_attention_mask {
            let message = "sets use_attention_mask, which Stable Diffusion 1.x does not use.";
            return Err(EngineError::model(path, message));
        }
        Ok(())
    }
}
