//! `unet/config.json`, with diffusers' defaults for what is absent.

use std::path::Path;

use serde::Deserialize;

use crate::{
    EngineError, Result,
    json::{self, OneOrMany},
    ops::Activation,
};

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

/// What stands between the way down and the way up; small distilled models have nothing there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum MidBlockType {
    /// Residual block, transformer, residual block.
    #[serde(rename = "UNetMidBlock2DCrossAttn")]
    CrossAttn,
    /// One residual block.
    #[serde(rename = "UNetMidBlock2D")]
    Plain,
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
    mid_block_type: Option<MidBlockType>,
    only_cross_attention: OneOrMany<bool>,
    // What is only checked:
    center_input_sample: bool,
    mid_block_scale_factor: f64,
    dual_cross_attention: bool,
    attention_type: String,
    cross_attention_norm: Option<String>,
    reverse_transformer_layers_per_block: Option<serde_json::Value>,
    resnet_skip_time_act: bool,
    resnet_out_scale_factor: f64,
    time_embedding_act_fn: Option<String>,
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
            mid_block_type: Some(MidBlockType::CrossAttn),
            only_cross_attention: OneOrMany::One(false),
            center_input_sample: false,
            mid_block_scale_factor: 1.0,
            dual_cross_attention: false,
            attention_type: "default".to_owned(),
            cross_attention_norm: None,
            reverse_transformer_layers_per_block: None,
            resnet_skip_time_act: false,
            resnet_out_scale_factor: 1.0,
            time_embedding_act_fn: None,
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
    /// Whether the first attention of each layer reads the text too, not the image.
    pub(crate) only_cross_attention: bool,
    pub(crate) linear_projection: bool,
    pub(crate) groups: usize,
}

/// Bounds of what a config may ask for. They are far above every model of the family, and keep a damaged or hostile
/// file from asking for more memory than there is.
const MAX_LEVELS: usize = 8;
const MAX_LAYERS: usize = 64;
const MAX_WIDTH: usize = 1 << 16;
const MAX_KERNEL: usize = 15;
const MAX_SAMPLE: usize = 4096;

impl UNetConfig {
    /// Stable Diffusion 1.5's own: what single-file checkpoints leave out.
    pub(crate) fn sd15() -> Self {
        Self {
            sample_size: Some(OneOrMany::One(64)),
            cross_attention_dim: OneOrMany::One(768),
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

    /// The block between the way down and the way up.
    pub(crate) fn mid_block(&self) -> Option<(MidBlockType, BlockConfig)> {
        let last = self.block(self.block_out_channels.len().checked_sub(1)?)?;
        // diffusers does not hand only_cross_attention on to this block.
        let attention = AttentionConfig { only_cross_attention: false, ..last.attention };
        Some((self.mid_block_type?, BlockConfig { attention, ..last }))
    }

    /// Sizes of level `i`, counted from the image's side.
    pub(crate) fn block(&self, i: usize) -> Option<BlockConfig> {
        let heads = self.num_attention_heads.as_ref().unwrap_or(&self.attention_head_dim);
        Some(BlockConfig {
            channels: *self.block_out_channels.get(i)?,
            layers: self.layers_per_block.get(i)?,
            attention: AttentionConfig {
                heads: heads.get(i)?,
                layers: self.transformer_layers_per_block.get(i)?,
                context: self.cross_attention_dim.get(i)?,
                only_cross_attention: self.only_cross_attention.get(i)?,
                linear_projection: self.use_linear_projection,
                groups: self.norm_num_groups,
            },
        })
    }

    /// Refuses what this engine does not compute, rather than computing something else.
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        let levels = self.block_out_channels.len();
        let refuse = |message: String| Err(EngineError::model(path, message));
        if levels == 0
            || levels > MAX_LEVELS
            || self.down_block_types.len() != levels
            || self.up_block_types.len() != levels
        {
            return refuse(format!(
                "names {levels} block_out_channels, {} down_block_types and {} up_block_types; there must be \
                 equally many of each, 1 to {MAX_LEVELS}.",
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
        if !self.only_cross_attention.fits(levels) {
            return refuse(format!(
                "has an only_cross_attention that is not one value or one for each of {levels} blocks."
            ));
        }
        if self.down_block_types.iter().any(|kind| matches!(kind, BlockType::Up | BlockType::CrossAttnUp))
            || self
                .up_block_types
                .iter()
                .any(|kind| matches!(kind, BlockType::Down | BlockType::CrossAttnDown))
        {
            return refuse("has an up block on the way down, or a down block on the way up.".to_owned());
        }
        let bounds = |name: &str, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            refuse(format!("has a {name} of {value}; {least} to {most} can be computed."))
        };
        for level in 0..levels {
            let Some(block) = self.block(level) else { continue };
            bounds("block_out_channels", block.channels, 1, MAX_WIDTH)?;
            bounds("layers_per_block", block.layers, 1, MAX_LAYERS)?;
            bounds("transformer_layers_per_block", block.attention.layers, 1, MAX_LAYERS)?;
            bounds("cross_attention_dim", block.attention.context, 1, MAX_WIDTH)?;
            let (channels, heads) = (block.channels, block.attention.heads);
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
        bounds("in_channels", self.in_channels, 1, MAX_WIDTH)?;
        bounds("out_channels", self.out_channels, 1, MAX_WIDTH)?;
        bounds("conv_in_kernel", self.conv_in_kernel, 1, MAX_KERNEL)?;
        bounds("conv_out_kernel", self.conv_out_kernel, 1, MAX_KERNEL)?;
        bounds("downsample_padding", self.downsample_padding, 0, 1)?;
        bounds("time_embedding_dim", self.time_embedding_dim.unwrap_or(1), 1, MAX_WIDTH)?;
        let sizes = match &self.sample_size {
            None => &[][..],
            Some(OneOrMany::One(size)) => std::slice::from_ref(size),
            Some(OneOrMany::Many(sizes)) => sizes,
        };
        for size in sizes {
            bounds("sample_size", *size, 1, MAX_SAMPLE)?;
        }
        if self.time_cond_proj_dim.is_some() {
            let message = "sets time_cond_proj_dim: the model takes the guidance scale as an input (a distilled LCM \
                model), which is not computed here. Use the model it was distilled from with an LCM adapter.";
            return refuse(message.to_owned());
        }
        let unsupported = [
            ("center_input_sample", self.center_input_sample),
            ("mid_block_scale_factor", self.mid_block_scale_factor != 1.0),
            ("dual_cross_attention", self.dual_cross_attention),
            ("attention_type", self.attention_type != "default"),
            ("cross_attention_norm", self.cross_attention_norm.is_some()),
            ("reverse_transformer_layers_per_block", self.reverse_transformer_layers_per_block.is_some()),
            ("resnet_skip_time_act", self.resnet_skip_time_act),
            ("resnet_out_scale_factor", self.resnet_out_scale_factor != 1.0),
            ("time_embedding_act_fn", self.time_embedding_act_fn.is_some()),
            ("class_embed_type", self.class_embed_type.is_some() || self.num_class_embeds.is_some()),
            ("addition_embed_type", self.addition_embed_type.is_some()),
            ("encoder_hid_dim_type", self.encoder_hid_dim_type.is_some()),
            ("resnet_time_scale_shift", self.resnet_time_scale_shift != "default"),
            ("time_embedding_type", self.time_embedding_type != "positional"),
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
