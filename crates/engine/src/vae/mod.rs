//! AutoencoderKL of diffusers (Rombach et al. 2022): images to latents and back.

mod blocks;
mod config;
mod modules;
mod other;
mod tiles;

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use self::modules::Modules;
pub(crate) use self::{config::VaeConfig, other::is_vae_config};
use crate::{
    Result,
    checkpoint::{Checkpoint, Cursor, Reading, SingleFile},
    plan::{self, DeviceVae, Half, PlannedVae, Target},
};
#[cfg(test)]
pub(crate) use modules::{Modules as VaeModules, sizes};

/// Most pixels that are decoded or encoded in one piece: in f32, SD 1.5's decoder needs about 5 kB for each.
const ONE_PIECE: usize = 768 * 768;
/// Smallest tile's side in pixels: in smaller ones, the normalisation sees too little of the image.
const SMALLEST_TILE: usize = 256;

/// The autoencoder.
#[derive(Debug)]
pub struct Vae {
    config: VaeConfig,
    way: Way,
    dtype: DType,
}

/// How it computes. Its weights never change, so that they are held once.
#[derive(Debug)]
enum Way {
    Modules(Box<Modules>),
    Planned(Box<PlannedVae>),
    OnGpu(Box<DeviceVae>),
}

/// What the encoder says of an image: a diagonal Gaussian over latents, before scaling.
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
        Self::load_on(None, folder, dtype, device)
    }

    /// As [`Self::load`], to compute on a GPU if one is given: then `dtype` is f32 and `device` the CPU.
    pub(crate) fn load_on(
        target: Option<&Target>,
        folder: &Path,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let config = VaeConfig::read(folder)?;
        let checkpoint = Checkpoint::open(folder, "diffusion_pytorch_model")?;
        Self::build(target, config, &checkpoint.root(dtype, device), dtype)
    }

    /// The autoencoder of a single-file checkpoint, as [`Self::load_on`]; `config` is that of the model it was made from.
    pub(crate) fn load_single(
        target: Option<&Target>,
        file: &SingleFile,
        config: VaeConfig,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let checkpoint = file.vae(config.block_out_channels.len());
        Self::build(target, config, &checkpoint.root(dtype, device), dtype)
    }

    fn build(target: Option<&Target>, config: VaeConfig, cursor: &Cursor<'_>, dtype: DType) -> Result<Self> {
        let deferred = || Modules::load(&config, &cursor.clone().reading(Reading::Deferred));
        let way = match target {
            Some(target) => Way::OnGpu(Box::new(deferred()?.on_gpu(target, &config)?)),
            None if plan::is_on(cursor.device(), dtype) => {
                Way::Planned(Box::new(deferred()?.planned(&config)?))
            }
            None => Way::Modules(Box::new(Modules::load(&config, cursor)?)),
        };
        Ok(Self { config, way, dtype })
    }

    /// Pixels per latent in each direction (8 for SD 1.5).
    pub fn factor(&self) -> usize {
        self.config.factor()
    }

    /// Channels of a latent (4 for SD 1.5).
    pub fn latent_channels(&self) -> usize {
        self.config.latent_channels
    }

    /// `latents` as the UNet sees them, [batch, latent channels, height, width]; gives images
    /// [batch, 3, height·factor, width·factor] in f32, about −1 to 1. Above 768×768 pixels in tiles, as
    /// [`Self::decode_tiled`] with the side that the model was trained for.
    ///
    /// # Errors
    /// Shapes do not fit, or memory runs out.
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        let (_, _, height, width) = latents.dims4()?;
        let factor = self.factor();
        if height * width * factor * factor > ONE_PIECE {
            return self.decode_tiled(latents, self.tile());
        }
        self.decode_piece(&self.unscale(latents)?)
    }

    /// As [`Self::decode`], in overlapping tiles of `side` latents each way (diffusers' `tiled_decode`): memory
    /// for one tile, whatever the size.
    ///
    /// # Errors
    /// Shapes do not fit, or memory runs out.
    pub fn decode_tiled(&self, latents: &Tensor, side: usize) -> Result<Tensor> {
        let z = self.unscale(latents)?;
        tiles::in_tiles(&z, side, side * self.factor(), &mut |tile| self.decode_piece(tile))
    }

    fn unscale(&self, latents: &Tensor) -> Result<Tensor> {
        let shift = self.config.shift_factor.unwrap_or(0.0);
        Ok(latents.affine(1.0 / self.config.scaling_factor, shift)?.to_dtype(self.dtype)?)
    }

    fn decode_piece(&self, z: &Tensor) -> Result<Tensor> {
        match &self.way {
            Way::Modules(modules) => modules.decode(z),
            Way::Planned(planned) => planned.forward(Half::Decoder, z),
            Way::OnGpu(device) => device.forward(Half::Decoder, z),
        }
    }

    /// Side of a tile, in latents.
    fn tile(&self) -> usize {
        self.config.sample_size.max(SMALLEST_TILE) / self.factor()
    }

    /// `images` [batch, 3, height, width], −1 to 1, sizes multiples of the factor. Above 768×768 pixels in
    /// tiles, as [`Self::encode_tiled`].
    ///
    /// # Errors
    /// Shapes do not fit, or memory runs out.
    pub fn encode(&self, images: &Tensor) -> Result<Posterior> {
        let (_, _, height, width) = images.dims4()?;
        if height * width > ONE_PIECE {
            return self.encode_tiled(images, self.tile());
        }
        self.posterior(&self.encode_piece(&images.to_dtype(self.dtype)?)?)
    }

    /// As [`Self::encode`], in overlapping tiles of `side` latents each way (diffusers' tiled encoding).
    ///
    /// # Errors
    /// Shapes do not fit, or memory runs out.
    pub fn encode_tiled(&self, images: &Tensor, side: usize) -> Result<Posterior> {
        let images = images.to_dtype(self.dtype)?;
        let moments =
            tiles::in_tiles(&images, side * self.factor(), side, &mut |tile| self.encode_piece(tile))?;
        self.posterior(&moments)
    }

    /// Mean and logarithm of the variance in one tensor, f32.
    fn encode_piece(&self, images: &Tensor) -> Result<Tensor> {
        match &self.way {
            Way::Modules(modules) => modules.encode(images),
            Way::Planned(planned) => planned.forward(Half::Encoder, images),
            Way::OnGpu(device) => device.forward(Half::Encoder, images),
        }
    }

    fn posterior(&self, moments: &Tensor) -> Result<Posterior> {
        let channels = self.config.latent_channels;
        Ok(Posterior {
            mean: moments.narrow(1, 0, channels)?,
            log_variance: moments.narrow(1, channels, channels)?.clamp(-30f32, 20f32)?,
        })
    }

    /// What [`Self::scale`] multiplies with, and what it subtracts before.
    pub fn scaling(&self) -> (f64, f64) {
        (self.config.scaling_factor, self.config.shift_factor.unwrap_or(0.0))
    }

    /// Scales an unscaled latent (a posterior's mean or sample) to what the UNet sees.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn scale(&self, latents: &Tensor) -> Result<Tensor> {
        let (scale, shift) = self.scaling();
        Ok(latents.affine(scale, -shift * scale)?)
    }
}
