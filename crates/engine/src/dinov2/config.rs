//! `config.json` of a DINOv2, with transformers' defaults for what is absent.

use std::path::Path;

use serde::Deserialize;

use crate::{EngineError, Result, json, ops::Activation};

/// Dinov2Config. Fields have transformers' names.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Dinov2Config {
    model_type: String,
    pub(crate) hidden_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    mlp_ratio: f64,
    pub(crate) hidden_act: Activation,
    pub(crate) layer_norm_eps: f64,
    pub(crate) image_size: usize,
    pub(crate) patch_size: usize,
    pub(crate) num_channels: usize,
    pub(crate) qkv_bias: bool,
    use_swiglu_ffn: bool,
}

impl Default for Dinov2Config {
    fn default() -> Self {
        Self {
            model_type: String::new(),
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            mlp_ratio: 4.0,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-6,
            image_size: 224,
            patch_size: 16,
            num_channels: 3,
            qkv_bias: true,
            use_swiglu_ffn: false,
        }
    }
}

/// Bounds of what a config may ask for, far above every model of the family.
const MAX_WIDTH: usize = 1 << 14;
const MAX_LAYERS: usize = 256;
const MAX_SIDE: usize = 4096;

impl Dinov2Config {
    /// Reads and checks `folder`'s config.json.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let config: Self = json::read(&path)?;
        match config.problem() {
            Some(message) => Err(EngineError::model(&path, message)),
            None => Ok(config),
        }
    }

    /// Width between the two layers of the feed-forward.
    pub(crate) fn inner(&self) -> usize {
        (self.hidden_size as f64 * self.mlp_ratio) as usize
    }

    fn problem(&self) -> Option<String> {
        if self.model_type != "dinov2" {
            return Some(format!(
                "is of the model type {:?}, not \"dinov2\"; facebook/dinov2-small is one.",
                self.model_type
            ));
        }
        for (name, value, most) in [
            ("hidden_size", self.hidden_size, MAX_WIDTH),
            ("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS),
            ("num_attention_heads", self.num_attention_heads, self.hidden_size.min(MAX_WIDTH)),
            ("image_size", self.image_size, MAX_SIDE),
            ("patch_size", self.patch_size, self.image_size.min(MAX_SIDE)),
        ] {
            if !(1..=most).contains(&value) {
                return Some(format!("has a {name} of {value}; 1 to {most} can be computed."));
            }
        }
        let (width, heads) = (self.hidden_size, self.num_attention_heads);
        if !width.is_multiple_of(heads) {
            return Some(format!("has a hidden_size of {width} that {heads} attention heads do not divide."));
        }
        if self.num_channels != 3 {
            return Some(format!("is for images of {} channels, not 3.", self.num_channels));
        }
        if self.use_swiglu_ffn {
            return Some(
                "has SwiGLU layers, as DINOv2-giant alone has; use small, base or large.".to_owned(),
            );
        }
        (!(0.1..=64.0).contains(&self.mlp_ratio))
            .then(|| format!("has an mlp_ratio of {}; 0.1 to 64 can be computed.", self.mlp_ratio))
    }
}
