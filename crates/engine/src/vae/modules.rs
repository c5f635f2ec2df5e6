//! The autoencoder's modules, each with its weights.

use candle_core::{DType, Tensor};

use super::{
    blocks::{Decoder, EPS, Encoder},
    config::VaeConfig,
};
use crate::{
    ParameterVisitor, Result,
    checkpoint::Cursor,
    layers::Conv2d,
    plan::{Autoencoder, DeviceVae, PlannedVae, Target},
};

/// Both halves, with the 1×1 convolutions around the latents.
#[derive(Debug)]
pub(crate) struct Modules {
    encoder: Encoder,
    decoder: Decoder,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
}

impl Modules {
    pub(crate) fn load(config: &VaeConfig, cursor: &Cursor<'_>) -> Result<Self> {
        let latent = config.latent_channels;
        let quant = |name: &str, channels| Conv2d::load(channels, channels, 1, &cursor.pp(name));
        Ok(Self {
            encoder: Encoder::load(config, &cursor.pp("encoder"))?,
            decoder: Decoder::load(config, &cursor.pp("decoder"))?,
            quant_conv: config.use_quant_conv.then(|| quant("quant_conv", 2 * latent)).transpose()?,
            post_quant_conv: config
                .use_post_quant_conv
                .then(|| quant("post_quant_conv", latent))
                .transpose()?,
        })
    }

    /// Latents before scaling, [batch, latent channels, height, width], to images, f32.
    pub(crate) fn decode(&self, z: &Tensor) -> Result<Tensor> {
        let decoded = match &self.post_quant_conv {
            Some(conv) => self.decoder.forward(&conv.forward(z)?)?,
            None => self.decoder.forward(z)?,
        };
        Ok(decoded.to_dtype(DType::F32)?)
    }

    /// Images to mean and logarithm of the variance in one tensor, f32.
    pub(crate) fn encode(&self, images: &Tensor) -> Result<Tensor> {
        let moments = self.encoder.forward(images)?;
        let moments = match &self.quant_conv {
            Some(conv) => conv.forward(&moments)?,
            None => moments,
        };
        Ok(moments.to_dtype(DType::F32)?)
    }

    /// The same, computed by plans: nothing is left here.
    pub(crate) fn planned(mut self, config: &VaeConfig) -> Result<PlannedVae> {
        PlannedVae::new(&sizes(config), &mut |f| self.visit(f))
    }

    /// The same, computed on a GPU.
    pub(crate) fn on_gpu(mut self, target: &Target, config: &VaeConfig) -> Result<DeviceVae> {
        DeviceVae::new(target, &sizes(config), &mut |f| self.visit(f))
    }

    pub(crate) fn visit(&mut self, f: &mut ParameterVisitor<'_>) -> Result<()> {
        self.encoder.visit("encoder", f)?;
        self.decoder.visit("decoder", f)?;
        let quant = [("quant_conv", &mut self.quant_conv), ("post_quant_conv", &mut self.post_quant_conv)];
        for (name, conv) in quant {
            if let Some(conv) = conv {
                conv.visit(name, f)?;
            }
        }
        Ok(())
    }
}

/// What a plan of it depends on.
pub(crate) fn sizes(config: &VaeConfig) -> Autoencoder {
    Autoencoder {
        image: (config.in_channels, config.out_channels),
        latent: config.latent_channels,
        widths: config.block_out_channels.clone(),
        layers: config.layers_per_block,
        groups: config.norm_num_groups,
        eps: EPS,
        activation: config.act_fn,
        attention: config.mid_block_add_attention,
        mixes: (config.use_quant_conv, config.use_post_quant_conv),
    }
}
