//! DINOv2's image tower (Oquab et al. 2023), as transformers' Dinov2Model: patches, a class token, transformer layers whose
//! outputs are scaled channel by channel, and a normalisation.

mod config;
mod positions;

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use self::{config::Dinov2Config, positions::resized};
use crate::{
    EngineError, Result, Rgb8,
    checkpoint::{Checkpoint, Cursor, find_weights},
    clip::Preprocessor,
    hash::base_hash,
    layers::{LayerNorm, Linear},
    ops::{self, Activation, AttentionMask},
};

/// What the hash covers beside the weights.
const FILES: [&str; 2] = ["config.json", "preprocessor_config.json"];

/// DINOv2 in f32.
#[derive(Debug)]
pub(crate) struct Dinov2 {
    preprocessor: Preprocessor,
    patch_embedding: Tensor,
    patch_bias: Tensor,
    class_embedding: Tensor,
    /// Of the class token and of the patches of images of the preprocessor's size, [1, 1 + patches, width].
    position_embedding: Tensor,
    layers: Vec<Layer>,
    layernorm: LayerNorm,
    patch: usize,
    hash: String,
    device: Device,
}

/// One pre-norm transformer layer with scaled branches (Touvron et al. 2021).
#[derive(Debug)]
struct Layer {
    norm1: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    dense: Linear,
    layer_scale1: Tensor,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    layer_scale2: Tensor,
    heads: usize,
    activation: Activation,
}

impl Layer {
    fn load(config: &Dinov2Config, cursor: &Cursor<'_>) -> Result<Self> {
        let (width, eps) = (config.hidden_size, config.layer_norm_eps);
        let inner = config.inner();
        let attention = cursor.pp("attention");
        let projection = |name: &str| match config.qkv_bias {
            true => Linear::load(width, width, &attention.pp("attention").pp(name)),
            false => Linear::load_no_bias(width, width, &attention.pp("attention").pp(name)),
        };
        Ok(Self {
            norm1: LayerNorm::load(width, eps, &cursor.pp("norm1"))?,
            query: projection("query")?,
            key: projection("key")?,
            value: projection("value")?,
            dense: Linear::load(width, width, &attention.pp("output").pp("dense"))?,
            layer_scale1: cursor.pp("layer_scale1").get(width, "lambda1")?,
            norm2: LayerNorm::load(width, eps, &cursor.pp("norm2"))?,
            fc1: Linear::load(width, inner, &cursor.pp("mlp").pp("fc1"))?,
            fc2: Linear::load(inner, width, &cursor.pp("mlp").pp("fc2"))?,
            layer_scale2: cursor.pp("layer_scale2").get(width, "lambda1")?,
            heads: config.num_attention_heads,
            activation: config.hidden_act,
        })
    }

    /// `x` [batch, tokens, width] to the same shape.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let h = self.norm1.forward(x)?;
        let (q, k, v) = (self.query.forward(&h)?, self.key.forward(&h)?, self.value.forward(&h)?);
        let h = self.dense.forward(&ops::attention(&q, &k, &v, self.heads, AttentionMask::None)?)?;
        let x = (x + h.broadcast_mul(&self.layer_scale1)?)?;
        let h = self.activation.apply(&self.fc1.forward(&self.norm2.forward(&x)?)?)?;
        Ok((self.fc2.forward(&h)?.broadcast_mul(&self.layer_scale2)? + x)?)
    }
}

impl Dinov2 {
    /// Loads `config.json`, `preprocessor_config.json` and `model.safetensors` of `folder`.
    ///
    /// # Errors
    /// A file is missing, damaged, or of another family of models; the message names it.
    pub(crate) fn load(folder: &Path, device: &Device) -> Result<Self> {
        let config = Dinov2Config::read(folder)?;
        let preprocessor = Preprocessor::read_any(folder)?;
        let (width, patch, side) = (config.hidden_size, config.patch_size, preprocessor.side());
        if !side.is_multiple_of(patch) {
            let path = folder.join("preprocessor_config.json");
            return Err(EngineError::model(
                &path,
                format!("crops to {side} pixels, which patches of {patch} do not fill."),
            ));
        }
        let checkpoint = Checkpoint::open(folder, "model")?;
        let root = checkpoint.root(DType::F32, device);
        let embeddings = root.pp("embeddings");
        let projection = embeddings.pp("patch_embeddings").pp("projection");
        let trained = config.image_size / patch;
        let position_embedding = embeddings.get((1, trained * trained + 1, width), "position_embeddings")?;
        let files: Vec<_> =
            FILES.map(|name| folder.join(name)).into_iter().chain(find_weights(folder, "model")?).collect();
        Ok(Self {
            patch_embedding: projection.get((width, config.num_channels, patch, patch), "weight")?,
            patch_bias: projection.get(width, "bias")?,
            class_embedding: embeddings.get((1, 1, width), "cls_token")?,
            position_embedding: resized(&position_embedding, trained, side / patch)?,
            layers: (0..config.num_hidden_layers)
                .map(|i| Layer::load(&config, &root.pp("encoder").pp("layer").pp(i)))
                .collect::<Result<_>>()?,
            layernorm: LayerNorm::load(width, config.layer_norm_eps, &root.pp("layernorm"))?,
            patch,
            preprocessor,
            hash: base_hash(folder, &files)?,
            device: device.clone(),
        })
    }

    /// Names the model: sha256 over its files.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// The normalised states of the patches of `images`, [images, patches, width], row by row from the top.
    pub(crate) fn places(&self, images: &[Rgb8]) -> Result<Tensor> {
        let inputs = images
            .iter()
            .map(|image| self.preprocessor.apply(image, &self.device))
            .collect::<Result<Vec<_>>>()?;
        let images = Tensor::cat(&inputs, 0)?;
        let (batch, ..) = images.dims4()?;
        let patches = ops::conv2d(
            &images,
            &self.patch_embedding.clone().into(),
            &self.patch_bias,
            None,
            self.patch,
            0,
        )?;
        let patches = patches.flatten_from(2)?.transpose(1, 2)?;
        let class = self.class_embedding.repeat((batch, 1, 1))?;
        let mut x = Tensor::cat(&[&class, &patches], 1)?.broadcast_add(&self.position_embedding)?;
        for layer in &self.layers {
            x = layer.forward(&x)?;
        }
        let x = self.layernorm.forward(&x)?;
        Ok(x.narrow(1, 1, x.dim(1)? - 1)?)
    }
}
