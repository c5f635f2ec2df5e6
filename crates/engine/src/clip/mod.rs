//! CLIP's image tower with what prepares images for it, and the transformer layer that CLIP's two towers share (Radford et
//! al. 2021), as transformers' CLIPEncoderLayer. The text tower is `text::TextEncoder`.

mod config;
mod preprocess;
mod resample;
mod vision;

use candle_core::{D, DType, Tensor};

pub(crate) use self::{config::ClipConfig, preprocess::Preprocessor, vision::VisionTower};

use crate::{
    ParameterVisitor, Result,
    checkpoint::Cursor,
    layers::{LayerNorm, Linear},
    ops::{self, Activation, AttentionMask},
};

/// Sizes of a tower's layers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerSizes {
    pub(crate) width: usize,
    /// Width between the two layers of the feed-forward.
    pub(crate) inner: usize,
    pub(crate) heads: usize,
    /// Added to the variance of the normalisations.
    pub(crate) eps: f64,
    pub(crate) activation: Activation,
}

/// One pre-norm transformer layer.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    layer_norm1: LayerNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
    activation: Activation,
}

impl Layer {
    pub(crate) fn load(sizes: &LayerSizes, cursor: &Cursor<'_>) -> Result<Self> {
        let LayerSizes { width, inner, heads, eps, activation } = *sizes;
        let attention = |name: &str| Linear::load(width, width, &cursor.pp("self_attn").pp(name));
        Ok(Self {
            layer_norm1: LayerNorm::load(width, eps, &cursor.pp("layer_norm1"))?,
            q_proj: attention("q_proj")?,
            k_proj: attention("k_proj")?,
            v_proj: attention("v_proj")?,
            out_proj: attention("out_proj")?,
            layer_norm2: LayerNorm::load(width, eps, &cursor.pp("layer_norm2"))?,
            fc1: Linear::load(width, inner, &cursor.pp("mlp").pp("fc1"))?,
            fc2: Linear::load(inner, width, &cursor.pp("mlp").pp("fc2"))?,
            heads,
            activation,
        })
    }

    /// From the names of OpenAI's code, which stores queries, keys and values in one tensor.
    fn load_openai(sizes: &LayerSizes, cursor: &Cursor<'_>) -> Result<Self> {
        let LayerSizes { width, inner, heads, eps, activation } = *sizes;
        let (attention, mlp) = (cursor.pp("attn"), cursor.pp("mlp"));
        let weight = attention.get((3 * width, width), "in_proj_weight")?;
        let bias = attention.get(3 * width, "in_proj_bias")?;
        let third = |index: usize| -> Result<Linear> {
            let weight = weight.narrow(0, index * width, width)?.contiguous()?;
            Ok(Linear::of(weight, bias.narrow(0, index * width, width)?.contiguous()?))
        };
        Ok(Self {
            layer_norm1: LayerNorm::load(width, eps, &cursor.pp("ln_1"))?,
            q_proj: third(0)?,
            k_proj: third(1)?,
            v_proj: third(2)?,
            out_proj: Linear::load(width, width, &attention.pp("out_proj"))?,
            layer_norm2: LayerNorm::load(width, eps, &cursor.pp("ln_2"))?,
            fc1: Linear::load(width, inner, &mlp.pp("c_fc"))?,
            fc2: Linear::load(inner, width, &mlp.pp("c_proj"))?,
            heads,
            activation,
        })
    }

    /// `x` [batch, tokens, width] to the same shape.
    pub(crate) fn forward(&self, x: &Tensor, mask: AttentionMask) -> Result<Tensor> {
        let h = self.layer_norm1.forward(x)?;
        let (q, k, v) = (self.q_proj.forward(&h)?, self.k_proj.forward(&h)?, self.v_proj.forward(&h)?);
        let h = ops::attention(&q, &k, &v, self.heads, mask)?;
        let x = (x + self.out_proj.forward(&h)?)?;
        let h = self.fc1.forward(&self.layer_norm2.forward(&x)?)?;
        Ok((self.fc2.forward(&self.activation.apply(&h)?)? + x)?)
    }

    pub(crate) fn visit(&mut self, path: &str, f: &mut ParameterVisitor<'_>) -> Result<()> {
        self.layer_norm1.visit(&format!("{path}.layer_norm1"), f)?;
        self.q_proj.visit(&format!("{path}.self_attn.q_proj"), f)?;
        self.k_proj.visit(&format!("{path}.self_attn.k_proj"), f)?;
        self.v_proj.visit(&format!("{path}.self_attn.v_proj"), f)?;
        self.out_proj.visit(&format!("{path}.self_attn.out_proj"), f)?;
        self.layer_norm2.visit(&format!("{path}.layer_norm2"), f)?;
        self.fc1.visit(&format!("{path}.mlp.fc1"), f)?;
        self.fc2.visit(&format!("{path}.mlp.fc2"), f)
    }
}

/// Rows [rows, width] scaled to length 1, in f32 (torch's `normalize`).
pub(crate) fn unit(rows: &Tensor) -> Result<Tensor> {
    let rows = rows.to_dtype(DType::F32)?;
    let norm = rows.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(1e-12)?;
    Ok(rows.broadcast_div(&norm)?)
}
