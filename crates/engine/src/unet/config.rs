//! `unet/config.json`, with diffusers' defaults for what is absent.

use std::path::Path;

use serde::Deserialize;

use crate::{EngineError, Result, json::OneOrMany, ops::Activation};

/// Kinds of down and up blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum BlockType {
    #[serde(rename = "DownBlock2D")]
    Down,
    #[serde(rename = "CrossAttnDownBlock2D")]
    CrossAttnDown,
    #[serde(rename = "UpBlock2D")]
    Up,
    #[serde(rename = "CrossAttnUpBlock2D")]
    CrossAttnUp,
}

/// Sizes of the UNet. Fields have diffusers' names.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub(crate) struct UNetConfig {
    pub(crate) sample_size: Option<OneOrMany<usize>>,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) flip_sin_to_cos: bool,
    pub(crate) freq_shift: f64,
    pub(crate) down_block_types: Vec<BlockType>,
    pub(crate) up_block_types: Vec<BlockType>,
    pub(crate) block_out_channels: Vec<usize>,
    pub(crate) layers_per_block: OneOrMany<usize>,
    pub(crate) downsample_padding: usize,
    pub(crate) act_fn: Activation,
    pub(crate) norm_num_groups: usize,
    pub(crate) norm_eps: f64,
    pub(crate) cross_attention_dim: OneOrMany<usize>,
    pub(crate) transformer_layers_per_block: OneOrMany<usize>,
    /// Historic name: the number of heads.
    attention_head_dim: OneOrMany<usize>,
    num_attention_heads: Option<OneOrMany<usize>>,
    pub(crate) use_linear_projection: bool,
    pub(crate) conv_in_kernel: usize,
    pub(crate) conv_out_kernel: usize,
    pub(crate) time_embedding_dim: Option<usize>,
    // What is only checked:
    mid_block_type: Option<String>,
    center_input_sample: bool,
    mid_block_scale_factor: f64,
    only_cross_attention: OneOrMany<bool>,
    dual_cross_attention: bool,
    class_embed_type: Option<String>,
    addition_embed_type: Option<String>,
    num_class_embeds: Option<usize>,
    encoder_hid_dim_type: Option<String>,
    resnet_time_scale_shift: String,
    time_embedding_type: String,
    time_cond_proj_dim: Option<usize>,
    timestep_post_act: Option<String>,
}

impl Default for UNetConfig {
    fn default() -> Self {
        use BlockType::{CrossAttnDown, CrossAttnUp, Down, Up};
        Self {
            sample_size: None,
            in_channels: 4,
            out_channels: 4,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            down_block_types: vec![CrossAttnDown, CrossAttnDown, CrossAttnDown, Down],
            up_block_types: vec![Up, CrossAttnUp, CrossAttnUp, CrossAttnUp],
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: OneOrMany::One(2),
            downsample_padding: 1,
            act_fn: Activation::Silu,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            cross_attention_dim: OneOrMany::One(1280),
            transformer_layers_per_block: OneOrMany::One(1),
            attention_head_dim: OneOrMany::One(8),
            num_attention_heads: None,
            use_linear_projection: false,
            conv_in_kernel: 3,
            conv_out_kernel: 3,
            time_embedding_dim: None,
            mid_block_type: Some("UNetMidBlock2DCrossAttn".to_owned()),
            center_input_sample: false,
            mid_block_scale_factor: 1.0,
            only_cross_attention: OneOrMany::One(false),
            dual_cross_attention: false,
            class_embed_type: None,
            addition_embed_type: None,
            num_class_embeds: None,
            encoder_hid_dim_type: None,
            resnet_time_scale_shift: "default".to_owned(),
            time_embedding_type: "positional".to_owned(),
            time_cond_proj_dim: None,
            timestep_post_act: None,
        }
    }
}

/// Sizes of one down or up block (or of the mid block).
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockConfig {
    pub(crate) channels: usize,
    pub(crate) layers: usize,
    pub(crate) attention: AttentionConfig,
}

/// Sizes of a block's transformers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttentionConfig {
    pub(crate) heads: usize,
    pub(crate) layers: usize,
    pub(crate) context: usize,
    pub(crate) linear_projection: bool,
    pub(crate) groups: usize,
}

impl UNetConfig {
    /// Sizes of level `i`, counted from the picture's side.
    pub(crate) fn block(&self, i: usize) -> Option<BlockConfig> {
        let heads = self.num_attention_heads.as_ref().unwrap_or(&self.attention_head_dim);
        Some(BlockConfig {
            channels: *self.block_out_channels.get(i)?,
            layers: self.layers_per_block.get(i)?,
            attention: AttentionConfig {
                heads: heads.get(i)?,
                layers: self.transformer_layers_per_block.get(i)?,
                context: self.cross_attention_dim.get(i)?,
                linear_projection: self.use_linear_projection,
                groups: self.norm_num_groups,
            },
        })
    }

    /// Refuses what this engine does not compute, rather than computing something else.
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        let levels = self.block_out_channels.len();
        let refuse = |message: String| Err(EngineError::model(path, message));
        if levels == 0 || self.down_block_types.len() != levels || self.up_block_types.len() != levels {
            return refuse(format!(
                "names {levels} block_out_channels, {} down_block_types and {} up_block_types; there must be \
                 equally many of each, at least one.",
                self.down_block_types.len(),
                self.up_block_types.len()
            ));
        }
        let heads = self.num_attention_heads.as_ref().unwrap_or(&self.attention_head_dim);
        let lists = [
            ("layers_per_block", &self.layers_per_block),
            ("cross_attention_dim", &self.cross_attention_dim),
            ("transformer_layers_per_block", &self.transformer_layers_per_block),
            ("attention_head_dim", heads),
        ];
        for (name, list) in lists {
            if !list.fits(levels) {
                return refuse(format!(
                    "has a {name} that is not one value or one for each of {levels} blocks."
                ));
            }
        }
        for level in 0..levels {
            let (channels, heads) = (self.block_out_channels[level], heads.get(level).unwrap_or(0));
            if self.norm_num_groups == 0 || !channels.is_multiple_of(self.norm_num_groups) {
                return refuse(format!(
                    "has {channels} channels that {} groups do not divide.",
                    self.norm_num_groups
                ));
            }
            if heads == 0 || !channels.is_multiple_of(heads) {
                return refuse(format!(
                    "has {channels} channels that {heads} attention heads do not divide."
                ));
            }
        }
        let only_cross = (0..levels).any(|i| self.only_cross_attention.get(i).unwrap_or(false));
        let unsupported = [
            ("mid_block_type", self.mid_block_type.as_deref() != Some("UNetMidBlock2DCrossAttn")),
            ("center_input_sample", self.center_input_sample),
            ("mid_block_scale_factor", self.mid_block_scale_factor != 1.0),
            ("only_cross_attention", only_cross),
            ("dual_cross_attention", self.dual_cross_attention),
            ("class_embed_type", self.class_embed_type.is_some() || self.num_class_embeds.is_some()),
            ("addition_embed_type", self.addition_embed_type.is_some()),
            ("encoder_hid_dim_type", self.encoder_hid_dim_type.is_some()),
            ("resnet_time_scale_shift", self.resnet_time_scale_shift != "default"),
            ("time_embedding_type", self.time_embedding_type != "positional"),
            ("time_cond_proj_dim", self.time_cond_proj_dim.is_some()),
            ("timestep_post_act", self.timestep_post_act.is_some()),
        ];
        match unsupported.iter().find(|(_, set)| *set) {
            Some((name, _)) => refuse(format!(
                "sets {name} to something that Stable Diffusion 1.x does not use; this model is of another family."
            )),
            None => Ok(()),
        }
    }
}
