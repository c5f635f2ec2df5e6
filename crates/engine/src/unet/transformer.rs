//! Transformer2DModel: attention over the image's positions and to the text.

use candle_core::Tensor;

use super::config::AttentionConfig;
use crate::{
    ParameterVisitor, Result,
    checkpoint::Cursor,
    layers::{GroupNorm, LayerNorm, Linear},
    ops::{self, AttentionMask},
};

/// Fixed in diffusers' Transformer2DModel.
const GROUP_NORM_EPS: f64 = 1e-6;
/// Fixed in diffusers' BasicTransformerBlock.
const LAYER_NORM_EPS: f64 = 1e-5;

/// Normalise, project, transformer blocks over the positions, project back, add.
#[derive(Clone, Debug)]
pub(crate) struct Transformer {
    norm: GroupNorm,
    proj_in: Linear,
    blocks: Vec<Block>,
    proj_out: Linear,
}

impl Transformer {
    pub(crate) fn load(channels: usize, config: &AttentionConfig, cursor: &Cursor<'_>) -> Result<Self> {
        // A 1×1 convolution before the positions become rows is the same as a linear layer after it.
        let project = if config.linear_projection { Linear::load } else { Linear::load_conv };
        let blocks = cursor.pp("transformer_blocks");
        Ok(Self {
            norm: GroupNorm::load(channels, config.groups, GROUP_NORM_EPS, None, &cursor.pp("norm"))?,
            proj_in: project(channels, channels, &cursor.pp("proj_in"))?,
            blocks: (0..config.layers)
                .map(|i| Block::load(channels, config, &blocks.pp(i)))
                .collect::<Result<_>>()?,
            proj_out: project(channels, channels, &cursor.pp("proj_out"))?,
        })
    }

    /// `x` [batch, channels, height, width], `context` [batch, tokens, context width].
    pub(crate) fn forward(&self, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        let (batch, channels, height, width) = x.dims4()?;
        let h = self.norm.forward(x)?.flatten_from(2)?.transpose(1, 2)?;
        let mut h = self.proj_in.forward(&h)?;
        for block in &self.blocks {
            h = block.forward(&h, context)?;
        }
        let h = self.proj_out.forward(&h)?;
        Ok((h.transpose(1, 2)?.reshape((batch, channels, height, width))? + x)?)
    }

    pub(crate) fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        self.norm.visit(&format!("{path}.norm"), f)?;
        self.proj_in.visit(&format!("{path}.proj_in"), f)?;
        for (i, block) in self.blocks.iter_mut().enumerate() {
            block.visit(&format!("{path}.transformer_blocks.{i}"), f)?;
        }
        self.proj_out.visit(&format!("{path}.proj_out"), f)
    }
}

/// Self-attention, cross-attention, gated feed-forward.
#[derive(Clone, Debug)]
struct Block {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff_in: Linear,
    ff_out: Linear,
    only_cross_attention: bool,
}

impl Block {
    fn load(channels: usize, config: &AttentionConfig, cursor: &Cursor<'_>) -> Result<Self> {
        let norm = |name: &str| LayerNorm::load(channels, LAYER_NORM_EPS, &cursor.pp(name));
        let attention =
            |name: &str, context| Attention::load(channels, context, config.heads, &cursor.pp(name));
        let ff = cursor.pp("ff").pp("net");
        Ok(Self {
            norm1: norm("norm1")?,
            attn1: attention("attn1", if config.only_cross_attention { config.context } else { channels })?,
            norm2: norm("norm2")?,
            attn2: attention("attn2", config.context)?,
            norm3: norm("norm3")?,
            ff_in: Linear::load(channels, 8 * channels, &ff.pp(0).pp("proj"))?,
            ff_out: Linear::load(4 * channels, channels, &ff.pp(2))?,
            only_cross_attention: config.only_cross_attention,
        })
    }

    fn forward(&self, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        let normed = self.norm1.forward(x)?;
        let read = if self.only_cross_attention { context } else { &normed };
        let x = (self.attn1.forward(&normed, read)? + x)?;
        let x = (self.attn2.forward(&self.norm2.forward(&x)?, context)? + x)?;
        let hidden = ops::geglu(&self.ff_in.forward(&self.norm3.forward(&x)?)?)?;
        Ok((self.ff_out.forward(&hidden)? + x)?)
    }

    fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        self.norm1.visit(&format!("{path}.norm1"), f)?;
        self.attn1.visit(&format!("{path}.attn1"), f)?;
        self.norm2.visit(&format!("{path}.norm2"), f)?;
        self.attn2.visit(&format!("{path}.attn2"), f)?;
        self.norm3.visit(&format!("{path}.norm3"), f)?;
        self.ff_in.visit(&format!("{path}.ff.net.0.proj"), f)?;
        self.ff_out.visit(&format!("{path}.ff.net.2"), f)
    }
}

/// Multi-head attention with its projections.
#[derive(Clone, Debug)]
struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: usize,
}

impl Attention {
    fn load(channels: usize, context: usize, heads: usize, cursor: &Cursor<'_>) -> Result<Self> {
        Ok(Self {
            to_q: Linear::load_no_bias(channels, channels, &cursor.pp("to_q"))?,
            to_k: Linear::load_no_bias(context, channels, &cursor.pp("to_k"))?,
            to_v: Linear::load_no_bias(context, channels, &cursor.pp("to_v"))?,
            to_out: Linear::load(channels, channels, &cursor.pp("to_out").pp(0))?,
            heads,
        })
    }

    fn forward(&self, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        let (q, k, v) = (self.to_q.forward(x)?, self.to_k.forward(context)?, self.to_v.forward(context)?);
        self.to_out.forward(&ops::attention(&q, &k, &v, self.heads, AttentionMask::None)?)
    }

    fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        self.to_q.visit(&format!("{path}.to_q"), f)?;
        self.to_k.visit(&format!("{path}.to_k"), f)?;
        self.to_v.visit(&format!("{path}.to_v"), f)?;
        self.to_out.visit(&format!("{path}.to_out.0"), f)
    }
}
