//! CSD, the contrastive style descriptor (Somepalli et al. 2024): a CLIP image tower trained further so that a projection
//! of its class token describes style and not content. Checkpoints have OpenAI's names of a CLIP's image tower.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};

use crate::{
    EngineError, Result, Rgb8,
    checkpoint::{Checkpoint, find_weights},
    clip::{Preprocessor, VisionTower, unit},
    hash::base_hash,
};

/// CSD in f32.
#[derive(Debug)]
pub(crate) struct Csd {
    preprocessor: Preprocessor,
    tower: VisionTower,
    /// [width, described].
    style: Tensor,
    hash: String,
    device: Device,
}

impl Csd {
    /// Loads a safetensors file, or `model.safetensors` of a folder.
    ///
    /// # Errors
    /// It is missing, damaged, or no CSD.
    pub(crate) fn load(path: &Path, device: &Device) -> Result<Self> {
        let (checkpoint, files, folder) = if path.is_file() {
            let folder = path.parent().unwrap_or(path).to_owned();
            (Checkpoint::of_file(path)?, vec![path.to_owned()], folder)
        } else {
            let files: Vec<PathBuf> = find_weights(path, "model")?;
            (Checkpoint::open(path, "model")?, files, path.to_owned())
        };
        let root = checkpoint.root(DType::F32, device);
        let Some([width, described]) =
            root.dims("last_layer_style").and_then(|dims| <[usize; 2]>::try_from(dims).ok())
        else {
            return Err(EngineError::model(
                path,
                "lacks the tensor last_layer_style; it is not a checkpoint of CSD (yuxi-liu-wired/CSD on the Hub is one).",
            ));
        };
        let (tower, side) = VisionTower::load_openai(width, &root.pp("backbone"))?;
        Ok(Self {
            // CSD's own preprocessing is CLIP's.
            preprocessor: Preprocessor::of_clip(side),
            tower,
            style: root.get((width, described), "last_layer_style")?,
            hash: base_hash(&folder, &files)?,
            device: device.clone(),
        })
    }

    /// Names the model: sha256 over its weights.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// The styles of `images`, [images, described], each of length 1.
    pub(crate) fn styles(&self, images: &[Rgb8]) -> Result<Tensor> {
        let inputs = images
            .iter()
            .map(|image| self.preprocessor.apply(image, &self.device))
            .collect::<Result<Vec<_>>>()?;
        let pooled = self.tower.forward(&Tensor::cat(&inputs, 0)?)?;
        unit(&pooled.matmul(&self.style)?)
    }
}
