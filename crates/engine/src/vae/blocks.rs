//! The autoencoder's encoder, decoder and their mid block.

use candle_core::Tensor;

use super::config::VaeConfig;
use crate::{
    ParameterVisitor, Result,
    checkpoint::Cursor,
    layers::{Conv2d, GroupNorm, Linear},
    ops::{self, Activation, AttentionMask},
    resnet::{Downsample, NormConfig, Resnet, Upsample},
};

/// Fixed in diffusers' Encoder and Decoder.
pub(super) const EPS: f64 = 1e-6;

fn norm(config: &VaeConfig) -> NormConfig {
    NormConfig { groups: config.norm_num_groups, eps: EPS, activation: config.act_fn }
}

/// Image to mean and log-variance.
#[derive(Debug)]
pub(crate) struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<(Vec<Resnet>, Option<Downsample>)>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    pub(crate) fn load(config: &VaeConfig, cursor: &Cursor<'_>) -> Result<Self> {
        let (norm, widths) = (norm(config), &config.block_out_channels);
        let mut channels = widths[0];
        let mut down_blocks = Vec::with_capacity(widths.len());
        for (i, width) in widths.iter().enumerate() {
            let block = cursor.pp("down_blocks").pp(i);
            let mut resnets = Vec::with_capacity(config.layers_per_block);
            for j in 0..config.layers_per_block {
                resnets.push(Resnet::load(channels, *width, None, &norm, &block.pp("resnets").pp(j))?);
                channels = *width;
            }
            let load = || Downsample::load(*width, 0, &block.pp("downsamplers").pp(0));
            down_blocks.push((resnets, (i + 1 < widths.len()).then(load).transpose()?));
        }
        Ok(Self {
            conv_in: Conv2d::load(config.in_channels, widths[0], 3, &cursor.pp("conv_in"))?,
            down_blocks,
            mid_block: MidBlock::load(channels, config, &cursor.pp("mid_block"))?,
            conv_norm_out: norm.load(channels, &cursor.pp("conv_norm_out"))?,
            conv_out: Conv2d::load(channels, 2 * config.latent_channels, 3, &cursor.pp("conv_out"))?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = self.conv_in.forward(x)?;
        for (resnets, downsample) in &self.down_blocks {
            for resnet in resnets {
                x = resnet.forward(&x, None)?;
            }
            if let Some(downsample) = downsample {
                x = downsample.forward(&x)?;
            }
        }
        self.conv_out.forward(&self.conv_norm_out.forward(&self.mid_block.forward(&x)?)?)
    }
}

impl Encoder {
    /// Calls `f` with every parameter.
    pub(crate) fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        self.conv_in.visit(&format!("{path}.conv_in"), f)?;
        for (i, (resnets, downsample)) in self.down_blocks.iter_mut().enumerate() {
            for (j, resnet) in resnets.iter_mut().enumerate() {
                resnet.visit(&format!("{path}.down_blocks.{i}.resnets.{j}"), f)?;
            }
            if let Some(downsample) = downsample {
                downsample.visit(&format!("{path}.down_blocks.{i}.downsamplers.0"), f)?;
            }
        }
        self.mid_block.visit(&format!("{path}.mid_block"), f)?;
        self.conv_norm_out.visit(&format!("{path}.conv_norm_out"), f)?;
        self.conv_out.visit(&format!("{path}.conv_out"), f)
    }
}

/// Latent to image.
#[derive(Debug)]
pub(crate) struct Decoder {
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<(Vec<Resnet>, Option<Upsample>)>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    pub(crate) fn load(config: &VaeConfig, cursor: &Cursor<'_>) -> Result<Self> {
        let (norm, widths) = (norm(config), &config.block_out_channels);
        let deepest = widths[widths.len() - 1];
        let mut channels = deepest;
        let mut up_blocks = Vec::with_capacity(widths.len());
        for (i, width) in widths.iter().rev().enumerate() {
            let block = cursor.pp("up_blocks").pp(i);
            let mut resnets = Vec::with_capacity(config.layers_per_block + 1);
            for j in 0..=config.layers_per_block {
                resnets.push(Resnet::load(channels, *width, None, &norm, &block.pp("resnets").pp(j))?);
                channels = *width;
            }
            let load = || Upsample::load(*width, &block.pp("upsamplers").pp(0));
            up_blocks.push((resnets, (i + 1 < widths.len()).then(load).transpose()?));
        }
        Ok(Self {
            conv_in: Conv2d::load(config.latent_channels, deepest, 3, &cursor.pp("conv_in"))?,
            mid_block: MidBlock::load(deepest, config, &cursor.pp("mid_block"))?,
            up_blocks,
            conv_norm_out: norm.load(channels, &cursor.pp("conv_norm_out"))?,
            conv_out: Conv2d::load(channels, config.out_channels, 3, &cursor.pp("conv_out"))?,
        })
    }

    pub(crate) fn forward(&self, z: &Tensor) -> Result<Tensor> {
        let mut x = self.mid_block.forward(&self.conv_in.forward(z)?)?;
        for (resnets, upsample) in &self.up_blocks {
            for resnet in resnets {
                x = resnet.forward(&x, None)?;
            }
            if let Some(upsample) = upsample {
                x = upsample.forward(&x, None)?;
            }
        }
        self.conv_out.forward(&self.conv_norm_out.forward(&x)?)
    }
}

impl Decoder {
    /// Calls `f` with every parameter.
    pub(crate) fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        self.conv_in.visit(&format!("{path}.conv_in"), f)?;
        self.mid_block.visit(&format!("{path}.mid_block"), f)?;
        for (i, (resnets, upsample)) in self.up_blocks.iter_mut().enumerate() {
            for (j, resnet) in resnets.iter_mut().enumerate() {
                resnet.visit(&format!("{path}.up_blocks.{i}.resnets.{j}"), f)?;
            }
            if let Some(upsample) = upsample {
                upsample.visit(&format!("{path}.up_blocks.{i}.upsamplers.0"), f)?;
            }
        }
        self.conv_norm_out.visit(&format!("{path}.conv_norm_out"), f)?;
        self.conv_out.visit(&format!("{path}.conv_out"), f)
    }
}

/// Residual block, attention if the config has it, residual block.
#[derive(Debug)]
struct MidBlock {
    first: Resnet,
    attention: Option<Attention>,
    second: Resnet,
}

impl MidBlock {
    fn load(channels: usize, config: &VaeConfig, cursor: &Cursor<'_>) -> Result<Self> {
        let norm = norm(config);
        let resnet = |i: usize| Resnet::load(channels, channels, None, &norm, &cursor.pp("resnets").pp(i));
        let attention = || Attention::load(channels, config.norm_num_groups, &cursor.pp("attentions").pp(0));
        Ok(Self {
            first: resnet(0)?,
            attention: config.mid_block_add_attention.then(attention).transpose()?,
            second: resnet(1)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = self.first.forward(x, None)?;
        if let Some(attention) = &self.attention {
            x = attention.forward(&x)?;
        }
        self.second.forward(&x, None)
    }

    fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        self.first.visit(&format!("{path}.resnets.0"), f)?;
        if let Some(Attention { group_norm, to_q, to_k, to_v, to_out }) = &mut self.attention {
            let path = format!("{path}.attentions.0");
            group_norm.visit(&format!("{path}.group_norm"), f)?;
            for (name, linear) in [("to_q", to_q), ("to_k", to_k), ("to_v", to_v), ("to_out.0", to_out)] {
                linear.visit(&format!("{path}.{name}"), f)?;
            }
        }
        self.second.visit(&format!("{path}.resnets.1"), f)
    }
}

/// Self-attention over the positions, one head.
#[derive(Debug)]
struct Attention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

impl Attention {
    fn load(channels: usize, groups: usize, cursor: &Cursor<'_>) -> Result<Self> {
        // SD 1.5's own file has the names of diffusers' first versions.
        let linear = |new: &str, old: &str| {
            let name = if cursor.pp(old).has("weight") { old } else { new };
            Linear::load(channels, channels, &cursor.pp(name))
        };
        let no_activation: Option<Activation> = None;
        Ok(Self {
            group_norm: GroupNorm::load(channels, groups, EPS, no_activation, &cursor.pp("group_norm"))?,
            to_q: linear("to_q", "query")?,
            to_k: linear("to_k", "key")?,
            to_v: linear("to_v", "value")?,
            to_out: linear("to_out.0", "proj_attn")?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, channels, height, width) = x.dims4()?;
        let h = self.group_norm.forward(x)?.flatten_from(2)?.transpose(1, 2)?;
        let (q, k, v) = (self.to_q.forward(&h)?, self.to_k.forward(&h)?, self.to_v.forward(&h)?);
        let h = self.to_out.forward(&ops::attention(&q, &k, &v, 1, AttentionMask::None)?)?;
        Ok((h.transpose(1, 2)?.reshape((batch, channels, height, width))? + x)?)
    }
}
