//! `vae/config.json`, with diffusers' defaults for what is absent.

use std::path::Path;

use serde::Deserialize;

use crate::{EngineError, Result, json, ops::Activation};

/// Sizes of the autoencoder. Fields have diffusers' names.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct VaeConfig {
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    down_block_types: Vec<String>,
    up_block_types: Vec<String>,
    pub(crate) block_out_channels: Vec<usize>,
    pub(crate) layers_per_block: usize,
    pub(crate) act_fn: Activation,
    pub(crate) latent_channels: usize,
    pub(crate) norm_num_groups: usize,
    pub(crate) sample_size: usize,
    pub(crate) scaling_factor: f64,
    pub(crate) shift_factor: Option<f64>,
    latents_mean: Option<Vec<f64>>,
    latents_std: Option<Vec<f64>>,
    pub(crate) use_quant_conv: bool,
    pub(crate) use_post_quant_conv: bool,
    pub(crate) mid_block_add_attention: bool,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            down_block_types: vec!["DownEncoderBlock2D".to_owned()],
            up_block_types: vec!["UpDecoderBlock2D".to_owned()],
            block_out_channels: vec![64],
            layers_per_block: 1,
            act_fn: Activation::Silu,
            latent_channels: 4,
            norm_num_groups: 32,
            sample_size: 32,
            scaling_factor: 0.18215,
            shift_factor: None,
            latents_mean: None,
            latents_std: None,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

/// Bounds of what a config may ask for, far above every model of the family.
const MAX_LAYERS: usize = 64;
const MAX_WIDTH: usize = 1 << 16;

impl VaeConfig {
    /// Stable Diffusion 1.5's own: what single-file checkpoints leave out.
    pub(crate) fn sd15() -> Self {
        Self {
            down_block_types: vec!["DownEncoderBlock2D".to_owned(); 4],
            up_block_types: vec!["UpDecoderBlock2D".to_owned(); 4],
            block_out_channels: vec![128, 256, 512, 512],
            layers_per_block: 2,
            ..Self::default()
        }
    }

    /// Reads and checks `folder`'s config.json.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let config: Self = json::read(&path)?;
        config.check(&path)?;
        Ok(config)
    }

    /// Pixels per latent in each direction.
    pub(crate) fn factor(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }

    /// Refuses what this engine does not compute.
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        let refuse = |message: String| Err(EngineError::model(path, message));
        let levels = self.block_out_channels.len();
        if levels == 0
            || levels > 8
            || self.down_block_types.len() != levels
            || self.up_block_types.len() != levels
        {
            return refuse(format!(
                "names {levels} block_out_channels, {} down_block_types and {} up_block_types; there must be \
                 equally many of each, 1 to 8.",
                self.down_block_types.len(),
                self.up_block_types.len()
            ));
        }
        if let Some(kind) = self.down_block_types.iter().find(|kind| *kind != "DownEncoderBlock2D") {
            return refuse(format!("has a down block of type {kind}; only DownEncoderBlock2D is known."));
        }
        if let Some(kind) = self.up_block_types.iter().find(|kind| *kind != "UpDecoderBlock2D") {
            return refuse(format!("has an up block of type {kind}; only UpDecoderBlock2D is known."));
        }
        for (name, value, most) in [
            ("layers_per_block", self.layers_per_block, MAX_LAYERS),
            ("latent_channels", self.latent_channels, MAX_WIDTH),
            ("block_out_channels", self.block_out_channels.iter().copied().max().unwrap_or(0), MAX_WIDTH),
            ("block_out_channels", self.block_out_channels.iter().copied().min().unwrap_or(0), MAX_WIDTH),
        ] {
            if !(1..=most).contains(&value) {
                return refuse(format!("has a {name} of {value}; 1 to {most} can be computed."));
            }
        }
        let groups = self.norm_num_groups;
        if let Some(channels) =
            self.block_out_channels.iter().find(|n| groups == 0 || !n.is_multiple_of(groups))
        {
            return refuse(format!("has {channels} channels that {groups} groups do not divide."));
        }
        if self.latents_mean.is_some() || self.latents_std.is_some() {
            return refuse(
                "sets latents_mean or latents_std, which Stable Diffusion 1.x does not use.".to_owned(),
            );
        }
        if self.in_channels != 3 || self.out_channels != 3 {
            return refuse("does not map RGB images (3 channels) to RGB images.".to_owned());
        }
        if !self.scaling_factor.is_normal() {
            return refuse(format!("has a scaling_factor of {}.", self.scaling_factor));
        }
        Ok(())
    }
}
