//! CLIPVisionModel of transformers (Dosovitskiy et al. 2021; Radford et al. 2021): patches, a class token, transformer
//! layers, and the normalised state of the class token.

use candle_core::Tensor;

use super::{Layer, LayerSizes, config::VisionConfig};
use crate::{
    Result,
    checkpoint::Cursor,
    layers::LayerNorm,
    ops::{self, Activation, AttentionMask},
};

/// Width of an attention head in every CLIP of OpenAI's.
const HEAD: usize = 64;
/// More layers than any tower has.
const MAX_LAYERS: usize = 256;

/// CLIP's image tower, up to its pooled output.
#[derive(Debug)]
pub(crate) struct VisionTower {
    patch_embedding: Tensor,
    /// The patches' convolution has none.
    no_bias: Tensor,
    class_embedding: Tensor,
    position_embedding: Tensor,
    pre_layernorm: LayerNorm,
    layers: Vec<Layer>,
    post_layernorm: LayerNorm,
    patch: usize,
}

impl VisionTower {
    pub(crate) fn load(config: &VisionConfig, cursor: &Cursor<'_>) -> Result<Self> {
        let (width, patch, eps) = (config.hidden_size, config.patch_size, config.layer_norm_eps);
        let (embeddings, layers) = (cursor.pp("embeddings"), cursor.pp("encoder").pp("layers"));
        let positions = (config.image_size / patch).pow(2) + 1;
        let sizes = LayerSizes {
            width,
            inner: config.intermediate_size,
            heads: config.num_attention_heads,
            eps,
            activation: config.hidden_act,
        };
        let patch_embedding =
            embeddings.pp("patch_embedding").get((width, config.num_channels, patch, patch), "weight")?;
        Ok(Self {
            no_bias: Tensor::zeros(width, patch_embedding.dtype(), patch_embedding.device())?,
            patch_embedding,
            class_embedding: embeddings.get(width, "class_embedding")?,
            position_embedding: embeddings.pp("position_embedding").get((positions, width), "weight")?,
            // The name is misspelt in every checkpoint.
            pre_layernorm: LayerNorm::load(width, eps, &cursor.pp("pre_layrnorm"))?,
            layers: (0..config.num_hidden_layers)
                .map(|i| Layer::load(&sizes, &layers.pp(i)))
                .collect::<Result<_>>()?,
            post_layernorm: LayerNorm::load(width, eps, &cursor.pp("post_layernorm"))?,
            patch,
        })
    }

    /// A tower of `width` under the names of OpenAI's code, where tensors' shapes are the only config. Gives it with the
    /// side of the images that it takes.
    pub(crate) fn load_openai(width: usize, cursor: &Cursor<'_>) -> Result<(Self, usize)> {
        let blocks = cursor.pp("transformer").pp("resblocks");
        let dims = |cursor: &Cursor<'_>, name: &str, axis: usize| {
            cursor.dims(name).and_then(|dims| dims.get(axis).copied()).unwrap_or(0)
        };
        let patch = dims(cursor, "conv1.weight", 3);
        let positions = dims(cursor, "positional_embedding", 0);
        let layers = (0..MAX_LAYERS).take_while(|i| blocks.pp(i).pp("ln_1").has("weight")).count();
        let sizes = LayerSizes {
            width,
            inner: dims(&blocks.pp(0).pp("mlp").pp("c_fc"), "weight", 0),
            heads: width / HEAD,
            eps: 1e-5,
            activation: Activation::QuickGelu,
        };
        let patch_embedding = cursor.get((width, 3, patch, patch), "conv1.weight")?;
        let tower = Self {
            no_bias: Tensor::zeros(width, patch_embedding.dtype(), patch_embedding.device())?,
            patch_embedding,
            class_embedding: cursor.get(width, "class_embedding")?,
            position_embedding: cursor.get((positions, width), "positional_embedding")?,
            pre_layernorm: LayerNorm::load(width, sizes.eps, &cursor.pp("ln_pre"))?,
            layers: (0..layers).map(|i| Layer::load_openai(&sizes, &blocks.pp(i))).collect::<Result<_>>()?,
            post_layernorm: LayerNorm::load(width, sizes.eps, &cursor.pp("ln_post"))?,
            patch,
        };
        Ok((tower, patch * positions.saturating_sub(1).isqrt()))
    }

    /// `images` [batch, 3, side, side] in the compute dtype; gives [batch, width].
    pub(crate) fn forward(&self, images: &Tensor) -> Result<Tensor> {
        Ok(self.forward_with_places(images, [0])?.0)
    }

    /// As [`Self::forward`], with the states of the patches after so many layers, [batch, patches, width] each; they come
    /// row by row from the top.
    pub(crate) fn forward_with_places<const N: usize>(
        &self,
        images: &Tensor,
        after: [usize; N],
    ) -> Result<(Tensor, [Tensor; N])> {
        let (batch, ..) = images.dims4()?;
        let patches =
            ops::conv2d(images, &self.patch_embedding.clone().into(), &self.no_bias, None, self.patch, 0)?;
        let patches = patches.flatten_from(2)?.transpose(1, 2)?;
        let class = self.class_embedding.reshape((1, 1, ()))?.repeat((batch, 1, 1))?;
        let x = Tensor::cat(&[&class, &patches], 1)?.broadcast_add(&self.position_embedding)?;
        let mut x = self.pre_layernorm.forward(&x)?;
        let mut places = after.map(|_| x.clone());
        for (done, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, AttentionMask::None)?;
            for (places, _) in places.iter_mut().zip(after).filter(|(_, layers)| *layers == done + 1) {
                *places = x.clone();
            }
        }
        let pooled = self.post_layernorm.forward(&x.narrow(1, 0, 1)?.contiguous()?)?;
        for places in &mut places {
            *places = places.narrow(1, 1, places.dim(1)? - 1)?;
        }
        Ok((pooled.squeeze(1)?, places))
    }

    /// Layers of the transformer.
    pub(crate) fn layers(&self) -> usize {
        self.layers.len()
    }
}
