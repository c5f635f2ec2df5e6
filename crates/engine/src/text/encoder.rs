//! CLIPTextModel of transformers (Radford et al. 2021): token and position embeddings, pre-norm transformer
//! layers with a causal mask, final layer norm.

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::{Chunk, Embeddings, config::TextConfig};
use crate::{
    EngineError, Parameter, ParameterVisitor, Result, WeightVisitor,
    checkpoint::{Checkpoint, Cursor, Reading, SingleFile},
    clip::{Layer, LayerSizes},
    layers::LayerNorm,
    ops::AttentionMask,
};

/// CLIP's text tower, up to its last hidden state.
#[derive(Clone, Debug)]
pub struct TextEncoder {
    token_embedding: Tensor,
    position_embedding: Tensor,
    layers: Vec<Layer>,
    final_layer_norm: LayerNorm,
    sizes: LayerSizes,
}

impl TextEncoder {
    /// Loads `config.json` and `model.safetensors` of `folder`, weights cast to `dtype`.
    ///
    /// # Errors
    /// A file is missing, damaged, or of another family of models; the message names it.
    pub fn load(folder: &Path, dtype: DType, device: &Device) -> Result<Self> {
        Self::load_reading(folder, dtype, device, Reading::Now)
    }

    /// As [`Self::load`]; `reading`: when the weights of its layers are read.
    pub(crate) fn load_reading(
        folder: &Path,
        dtype: DType,
        device: &Device,
        reading: Reading,
    ) -> Result<Self> {
        let config = TextConfig::read(folder)?;
        let checkpoint = Checkpoint::open(folder, "model")?;
        Self::open(&config, &checkpoint.root(dtype, device).reading(reading))
    }

    /// The text encoder of a single-file checkpoint; `config` is that of the model it was made from.
    pub(crate) fn load_single(
        file: &SingleFile,
        config: &TextConfig,
        dtype: DType,
        device: &Device,
        reading: Reading,
    ) -> Result<Self> {
        Self::open(config, &file.text().root(dtype, device).reading(reading))
    }

    /// The text encoder that a checkpoint holds, alone or beside an image tower.
    pub(crate) fn open(config: &TextConfig, root: &Cursor<'_>) -> Result<Self> {
        // Newer versions of transformers write the same tensors without the first part of their names.
        let nested = root.pp("text_model");
        let cursor = if root.pp("embeddings").pp("token_embedding").has("weight") { root } else { &nested };
        Self::build(config, cursor)
    }

    /// Its modules without weights, to be visited.
    pub(crate) fn of_shapes(config: &TextConfig) -> Result<Self> {
        Self::build(config, &Cursor::of_shapes())
    }

    fn build(config: &TextConfig, cursor: &Cursor<'_>) -> Result<Self> {
        let width = config.hidden_size;
        let (embeddings, layers) = (cursor.pp("embeddings"), cursor.pp("encoder").pp("layers"));
        let positions = (config.max_position_embeddings, width);
        let sizes = LayerSizes {
            width,
            inner: config.intermediate_size,
            heads: config.num_attention_heads,
            eps: config.layer_norm_eps,
            activation: config.hidden_act,
        };
        Ok(Self {
            token_embedding: embeddings.pp("token_embedding").get((config.vocab_size, width), "weight")?,
            position_embedding: embeddings.pp("position_embedding").get(positions, "weight")?,
            layers: (0..config.num_hidden_layers)
                .map(|i| Layer::load(&sizes, &layers.pp(i)))
                .collect::<Result<_>>()?,
            final_layer_norm: LayerNorm::load(width, config.layer_norm_eps, &cursor.pp("final_layer_norm"))?,
            sizes,
        })
    }

    /// Positions that a prompt may fill, begin and end marks included (77 for CLIP).
    pub fn positions(&self) -> usize {
        self.position_embedding.dims()[0]
    }

    /// Size of the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.token_embedding.dims()[0]
    }

    /// Width of the vectors that [`Self::forward`] gives.
    pub fn width(&self) -> usize {
        self.token_embedding.dims()[1]
    }

    /// Sizes of its layers.
    pub(crate) fn sizes(&self) -> &LayerSizes {
        &self.sizes
    }

    /// Layers of the transformer (12 for CLIP); the largest clip skip.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Prompts as token ids, all of one length of at most [`Self::positions`]; gives the last hidden state after
    /// the final layer norm, [prompts, tokens, width].
    ///
    /// # Errors
    /// The prompts have several lengths, are too long, or hold an id that is not in the vocabulary.
    pub fn forward(&self, prompts: &[Vec<u32>]) -> Result<Tensor> {
        self.forward_from(prompts, 1)
    }

    /// As [`Self::forward`], from an earlier layer: `clip_skip` is A1111's, 1 for the last layer, 2 for the one before
    /// it, and so on; the final layer norm always follows. (diffusers' `clip_skip` counts the layers left out and so
    /// is one less.)
    ///
    /// # Errors
    /// As [`Self::forward`]; `clip_skip` is 0 or larger than [`Self::layers`].
    pub fn forward_from(&self, prompts: &[Vec<u32>], clip_skip: usize) -> Result<Tensor> {
        self.encode(&self.embedded(prompts, clip_skip)?, clip_skip)
    }

    /// What the layers get for [`Self::forward_from`].
    pub(crate) fn embedded(&self, prompts: &[Vec<u32>], clip_skip: usize) -> Result<Tensor> {
        self.check(prompts, clip_skip)?;
        self.place(&self.embed(prompts)?)
    }

    fn check(&self, prompts: &[Vec<u32>], clip_skip: usize) -> Result<()> {
        // A tower of no layers has but one state.
        if clip_skip == 0 || clip_skip > self.layers().max(1) {
            return Err(EngineError::Request(format!(
                "clip skip must be 1 (the last layer) to {}; got {clip_skip}",
                self.layers()
            )));
        }
        let tokens = prompts.first().map_or(0, Vec::len);
        if tokens == 0 || tokens > self.positions() || prompts.iter().any(|p| p.len() != tokens) {
            let most = self.positions();
            return Err(EngineError::Request(format!(
                "prompts need one common length of 1 to {most} tokens"
            )));
        }
        if let Some(id) = prompts.iter().flatten().find(|id| **id as usize >= self.vocabulary()) {
            let message = format!(
                "the tokenizer gives the token {id}, but the text encoder knows only {}; the two folders do not \
                 belong together",
                self.vocabulary()
            );
            return Err(EngineError::Request(message));
        }
        Ok(())
    }

    /// What the layers get for [`Self::forward_from`]; embeddings' vectors stand where the chunks say so.
    pub(crate) fn embed_chunks(
        &self,
        chunks: &[Chunk],
        embeddings: &Embeddings,
        clip_skip: usize,
    ) -> Result<Tensor> {
        let ids: Vec<Vec<u32>> = chunks.iter().map(|chunk| chunk.ids.clone()).collect();
        self.check(&ids, clip_skip)?;
        let embedded = self.embed(&ids)?;
        if chunks.iter().all(|chunk| chunk.vectors.is_empty()) {
            return self.place(&embedded);
        }
        let rows = chunks.iter().enumerate().map(|(i, chunk)| {
            let row = embedded.get(i)?;
            let mut parts = Vec::with_capacity(2 * chunk.vectors.len() + 1);
            let mut from = 0;
            for vector in &chunk.vectors {
                let Some((_, embedding)) = embeddings.get(vector.word) else { continue };
                if vector.at > from {
                    parts.push(row.narrow(0, from, vector.at - from)?);
                }
                let inserted = embedding.tensor().narrow(0, vector.row, 1)?;
                parts.push(inserted.to_device(row.device())?.to_dtype(row.dtype())?);
                from = vector.at + 1;
            }
            parts.push(row.narrow(0, from, chunk.ids.len() - from)?);
            Ok(Tensor::cat(&parts, 0)?)
        });
        let rows = rows.collect::<Result<Vec<_>>>()?;
        self.place(&Tensor::stack(&rows, 0)?)
    }

    /// The token embeddings of `prompts`, [prompts, tokens, width].
    fn embed(&self, prompts: &[Vec<u32>]) -> Result<Tensor> {
        let tokens = prompts.first().map_or(0, Vec::len);
        let ids = Tensor::from_vec(prompts.concat(), prompts.len() * tokens, self.token_embedding.device())?;
        let embedded = self.token_embedding.index_select(&ids, 0)?;
        Ok(embedded.reshape((prompts.len(), tokens, self.width()))?)
    }

    /// Token embeddings [prompts, tokens, width] with those of their positions.
    fn place(&self, embedded: &Tensor) -> Result<Tensor> {
        let tokens = embedded.dim(1)?;
        Ok(embedded.broadcast_add(&self.position_embedding.narrow(0, 0, tokens)?)?)
    }

    /// From token and position embeddings [prompts, tokens, width] to the hidden state.
    pub(crate) fn encode(&self, embedded: &Tensor, clip_skip: usize) -> Result<Tensor> {
        let mut x = embedded.clone();
        for layer in self.layers.iter().rev().skip(clip_skip - 1).rev() {
            x = layer.forward(&x, AttentionMask::Causal)?;
        }
        self.final_layer_norm.forward(&x)
    }

    /// Calls `f` with the path (as in SD 1.5's checkpoint, `text_model.encoder.layers.0.self_attn.q_proj`) and
    /// weight of every linear layer.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn visit_weights(&mut self, f: &mut WeightVisitor<'_>) -> Result<()> {
        self.visit_parameters(&mut |path, parameter, weight| match parameter {
            Parameter::Weight => f(path, weight),
            _ => Ok(()),
        })
    }

    /// As [`Self::visit_weights`], with biases and normalisations.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn visit_parameters(&mut self, f: &mut ParameterVisitor<'_>) -> Result<()> {
        for (i, layer) in self.layers.iter_mut().enumerate() {
            layer.visit(&format!("text_model.encoder.layers.{i}"), f)?;
        }
        self.final_layer_norm.visit("text_model.final_layer_norm", f)
    }
}
