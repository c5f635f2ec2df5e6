//! UNet2DConditionModel of diffusers, as Stable Diffusion 1.x uses it. Knows no schedule and no guidance.

mod blocks;
mod config;
mod time;
pub(crate) mod topology;
mod transformer;

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use self::{
    blocks::{Common, DownBlock, MidBlock, UpBlock},
    time::TimeEmbedding,
    topology::{MID_BLOCK, Topology},
};
pub(crate) use self::{
    config::{AttentionConfig, BlockType, MidBlockType, UNetConfig},
    time::Sinusoids,
};
use crate::{
    Parameter, ParameterVisitor, Result, WeightVisitor,
    checkpoint::{Checkpoint, Cursor, Reading, SingleFile},
    gradient_checkpointing::GradientCheckpointing,
    json,
    layers::{Conv2d, GroupNorm},
    resnet::NormConfig,
};

/// The model that predicts noise (or what its schedule calls for) from a noisy latent, a time and a text.
#[derive(Clone, Debug)]
pub struct UNet {
    config: UNetConfig,
    topology: Topology,
    conv_in: Conv2d,
    time_embedding: TimeEmbedding,
    down_blocks: Vec<DownBlock>,
    mid_block: Option<MidBlock>,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl UNet {
    /// Loads `config.json` and `diffusion_pytorch_model.safetensors` of `folder`, weights cast to `dtype`.
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
        let config = UNetConfig::read(folder)?;
        let checkpoint = Checkpoint::open(folder, "diffusion_pytorch_model")?;
        Self::build(config, &checkpoint.root(dtype, device).reading(reading))
    }

    /// The UNet of a single-file checkpoint. `config` is that of the model it was made from; only what the file's
    /// shapes tell is taken from the file.
    pub(crate) fn load_single(
        file: &SingleFile,
        config: UNetConfig,
        dtype: DType,
        device: &Device,
        reading: Reading,
    ) -> Result<Self> {
        let mut config = config;
        config.use_linear_projection = file.linear_projection();
        config.in_channels = file.in_channels().unwrap_or(config.in_channels);
        let layers =
            (0..config.block_out_channels.len()).filter_map(|i| config.layers_per_block.get(i)).collect();
        let up_attention = config.up_block_types.iter().map(|kind| *kind == BlockType::CrossAttnUp).collect();
        Self::build(config, &file.unet(layers, up_attention).root(dtype, device).reading(reading))
    }

    /// Its modules without weights, to be visited.
    pub(crate) fn of_shapes(config: UNetConfig) -> Result<Self> {
        Self::build(config, &Cursor::of_shapes())
    }

    fn build(config: UNetConfig, cursor: &Cursor<'_>) -> Result<Self> {
        let norm =
            NormConfig { groups: config.norm_num_groups, eps: config.norm_eps, activation: config.act_fn };
        let (time_embedding, time_width) = TimeEmbedding::load(&config, &cursor.pp("time_embedding"))?;
        let common = Common { norm, time_width, downsample_padding: config.downsample_padding };
        let topology = Topology::new(&config);
        let channels = topology.channels;
        let down = topology.down.iter().map(|block| DownBlock::load(block, &common, cursor));
        let mid =
            topology.mid.map(|(kind, level)| MidBlock::load(kind, &level, &common, &cursor.pp(MID_BLOCK)));
        let up = topology.up.iter().map(|block| UpBlock::load(block, &common, cursor));
        let (conv_in, conv_out) = (cursor.pp("conv_in"), cursor.pp("conv_out"));
        Ok(Self {
            conv_in: Conv2d::load(config.in_channels, channels, config.conv_in_kernel, &conv_in)?,
            time_embedding,
            down_blocks: down.collect::<Result<_>>()?,
            mid_block: mid.transpose()?,
            up_blocks: up.collect::<Result<_>>()?,
            conv_norm_out: norm.load(channels, &cursor.pp("conv_norm_out"))?,
            conv_out: Conv2d::load(channels, config.out_channels, config.conv_out_kernel, &conv_out)?,
            topology,
            config,
        })
    }

    /// `x` [batch, channels, height, width] (any size), `timestep` 0 to the number of training steps, `context`
    /// [batch, tokens, context width]; gives the prediction in `x`'s size. All in the compute dtype.
    ///
    /// # Errors
    /// Shapes do not fit, or memory runs out.
    pub fn forward(&self, x: &Tensor, timestep: f64, context: &Tensor) -> Result<Tensor> {
        self.forward_each(x, &[timestep], context)
    }

    /// As [`Self::forward`], with one timestep for each image of the batch (or one for all).
    ///
    /// # Errors
    /// Shapes do not fit, or memory runs out.
    pub fn forward_each(&self, x: &Tensor, timesteps: &[f64], context: &Tensor) -> Result<Tensor> {
        let time = self.time_embedding.forward(timesteps, x.dtype(), x.device())?;
        let mut x = self.conv_in.forward(x)?;
        let mut skips = vec![x.clone()];
        for block in &self.down_blocks {
            x = block.forward(x, &time, context, &mut skips)?;
        }
        if let Some(mid_block) = &self.mid_block {
            x = mid_block.forward(&x, &time, context)?;
        }
        for block in &self.up_blocks {
            x = block.forward(x, &time, context, &mut skips)?;
        }
        self.conv_out.forward(&self.conv_norm_out.forward(&x)?)
    }

    /// Calls `f` with the path and weight of every linear layer and convolution, in the order of a forward pass.
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
        self.conv_in.visit("conv_in", f)?;
        self.time_embedding.visit("time_embedding", f)?;
        for (block, at) in self.down_blocks.iter_mut().zip(&self.topology.down) {
            block.visit(&at.path, f)?;
        }
        if let Some(mid_block) = &mut self.mid_block {
            mid_block.visit(MID_BLOCK, f)?;
        }
        for (block, at) in self.up_blocks.iter_mut().zip(&self.topology.up) {
            block.visit(&at.path, f)?;
        }
        self.conv_norm_out.visit("conv_norm_out", f)?;
        self.conv_out.visit("conv_out", f)
    }

    /// Whether the gradient keeps every intermediate result (`None`, faster) or computes most of them again.
    pub(crate) fn set_checkpointing(&mut self, checkpointing: Option<&GradientCheckpointing>) {
        self.down_blocks.iter_mut().for_each(|block| block.set_checkpointing(checkpointing));
        self.up_blocks.iter_mut().for_each(|block| block.set_checkpointing(checkpointing));
        if let Some(mid_block) = &mut self.mid_block {
            mid_block.set_checkpointing(checkpointing);
        }
    }

    /// Height and width of the latents it was trained on (the larger of both), if its config says so.
    pub fn native_size(&self) -> Option<usize> {
        match self.config.sample_size.as_ref()? {
            json::OneOrMany::One(size) => Some(*size),
            json::OneOrMany::Many(sizes) => sizes.iter().copied().max(),
        }
    }

    /// The sizes that it was built with.
    pub(crate) fn config(&self) -> &UNetConfig {
        &self.config
    }
}
