//! AutoencoderKL of diffusers (Rombach et al. 2022): pictures to latents and back.

mod blocks;
mod config;

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use self::blocks::{Decoder, Encoder};
pub(crate) use self::config::VaeConfig;
use crate::{
    Result,
    checkpoint::{Checkpoint, Cursor, SingleFile},
    layers::Conv2d,
};

/// The autoencoder.
#[derive(Debug)]
pub struct Vae {
    config: VaeConfig,
    encoder: Encoder,
    decoder: Decoder,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
    dtype: DType,
}

/// What the encoder says of a picture: a diagonal Gaussian over latents, before scaling.
#[derive(Clone, Debug)]
pub struct Posterior {
    /// [batch, latent channels, height, width].
    pub mean: Tensor,
    /// Logarithm of the variance, −30 to 20, of the same shape.
    pub log_variance: Tensor,
}

impl Vae {
    /// Loads `config.json` and `diffusion_pytorch_model.safetensors` of `folder`, weights cast to `dtype`.
    ///
    /// # Errors
    /// A file is missing, damaged, or of another family of models; the message names it.
    pub fn load(folder: &Path, dtype: DType, device: &Device) -> Result<Self> {
        let config = VaeConfig::read(folder)?;
        let checkpoint = Checkpoint::open(folder, "diffusion_pytorch_model")?;
        Self::build(config, &checkpoint.root(dtype, device), dtype)
    }

    /// The autoencoder of a single-file checkpoint; `config` is that of the model it was made from.
    pub(crate) fn load_single(
        file: &SingleFile,
        config: VaeConfig,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let checkpoint = file.vae(config.block_out_channels.len());
        Self::build(config, &checkpoint.root(dtype, device), dtype)
    }

    fn build(config: VaeConfig, cursor: &Cursor<'_>, dtype: DType) -> Result<Self> {
        let latent = config.latent_channels;
        let quant = |name: &str, channels| Conv2d::load(channels, channels, 1, &cursor.pp(name));
        Ok(Self {
            encoder: Encoder::load(&config, &cursor.pp("encoder"))?,
            decoder: Decoder::load(&config, &cursor.pp("decoder"))?,
            quant_conv: config.use_quant_conv.then(|| quant("quant_conv", 2 * latent)).transpose()?,
            post_quant_conv: config
                .use_post_quant_conv
                .then(|| quant("post_quant_conv", latent))
                .transpose()?,
            config,
            dtype,
        })
    }

    /// Pixels per latent in each direction (8 for SD 1.5).
    pub fn factor(&self) -> usize {
        self.config.factor()
    }

    /// Channels of a latent (4 for SD 1.5).
    pub fn latent_channels(&self) -> usize {
        self.config.latent_channels
    }

    /// `latents` as the UNet sees them, [batch, latent channels, height, width]; gives pictures
    /// [batch, 3, height·factor, width·factor] in f32, about −1 to 1.
    ///
    /// # Errors
    /// Shapes do not fit, or memory runs out.
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        let shift = self.config.shift_factor.unwrap_or(0.0);
        let z = latents.affine(1.0 / self.config.scaling_factor, shift)?.to_dtype(self.dtype)?;
        let z = match &self.post_quant_conv {
            Some(conv) => conv.forward(&z)?,
            None => z,
        };
        Ok(self.decoder.forward(&z)?.to_dtype(DType::F32)?)
    }

    /// `pictures` [batch, 3, height, width], −1 to 1, sizes multiples of the factor.
    ///
    /// # Errors
    /// Shapes do not fit, or memory runs out.
    pub fn encode(&self, pictures: &Tensor) -> Result<Posterior> {
        let moments = self.encoder.forward(&pictures.to_dtype(self.dtype)?)?;
        let moments = match &self.quant_conv {
            Some(conv) => conv.forward(&moments)?,
            None => moments,
        }
        .to_dtype(DType::F32)?;
        let channels = self.config.latent_channels;
        Ok(Posterior {
            mean: moments.narrow(1, 0, channels)?,
            log_variance: moments.narrow(1, channels, channels)?.clamp(-30f32, 20f32)?,
        })
    }

    /// Scales an unscaled latent (a posterior's mean or sample) to what the UNet sees.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn scale(&self, latents: &Tensor) -> Result<Tensor> {
        let (scale, shift) = (self.config.scaling_factor, self.config.shift_factor.unwrap_or(0.0));
        Ok(latents.affine(scale, -shift * scale)?)
    }
}
