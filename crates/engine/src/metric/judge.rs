//! The judge: the CLIP whose features images and prompts are scored by, in Hugging Face layout. DINOv2 can take over the
//! maps, and CSD the styles. Scores can only be compared with those of the same judge, so it has a hash.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{
    Result, Rgb8, TextEncoder, Tokenizer,
    checkpoint::{Checkpoint, find_weights},
    clip::{ClipConfig, Preprocessor, VisionTower, unit},
    csd::Csd,
    dinov2::Dinov2,
    hash::base_hash,
    json,
    layers::Linear,
    text::TextConfig,
};

/// Changes whenever the features of the same files can change.
pub const REVISION: u32 = 2;
/// Images computed at once: CLIP ViT-L/14 needs about 100 MB for each.
const BATCH: usize = 8;
/// What the hash covers beside the weights, as far as it exists.
const FILES: [&str; 5] =
    ["config.json", "preprocessor_config.json", "vocab.json", "merges.txt", "tokenizer.json"];

/// A CLIP with both towers and projections, in f32, and what takes over some of its features.
#[derive(Debug)]
pub struct Judge {
    preprocessor: Preprocessor,
    vision: VisionTower,
    visual_projection: Linear,
    tokenizer: Tokenizer,
    text: TextEncoder,
    text_projection: Linear,
    dinov2: Option<Dinov2>,
    csd: Option<Csd>,
    hash: String,
    device: Device,
}

/// The text tower's part of CLIPConfig.
#[derive(Deserialize)]
struct TextPart {
    #[serde(default)]
    text_config: TextConfig,
}

/// What the judge sees in an image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageFeatures {
    /// `image_embeds` of transformers, of length 1.
    pub embedding: Vec<f32>,
    /// The states of the patches, each scaled to the same length, row by row; together of length 1. The cosine of two maps
    /// is the mean cosine of their places. DINOv2's last states, or those of CLIP after two thirds of the layers.
    pub map: Vec<f32>,
    /// Textures and colours wherever they are, little of what is shown; of length 1. CSD's descriptor, or mean and standard
    /// deviation over CLIP's patches of each channel after half the layers.
    pub style: Vec<f32>,
}

impl Judge {
    /// Loads `config.json`, `model.safetensors`, `preprocessor_config.json` and the tokenizer of `folder`.
    ///
    /// # Errors
    /// A file is missing, damaged, or of another family of models; the message names it.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let config = ClipConfig::read(folder)?;
        let path = folder.join("config.json");
        let TextPart { text_config } = json::read(&path)?;
        text_config.check(&path)?;
        let preprocessor = Preprocessor::read(folder, config.vision_config.image_size)?;
        let checkpoint = Checkpoint::open(folder, "model")?;
        let root = checkpoint.root(DType::F32, device);
        let text = TextEncoder::open(&text_config, &root)?;
        let (width, projected) = (config.vision_config.hidden_size, config.projection_dim);
        Ok(Self {
            preprocessor,
            vision: VisionTower::load(&config.vision_config, &root.pp("vision_model"))?,
            visual_projection: Linear::load_no_bias(width, projected, &root.pp("visual_projection"))?,
            tokenizer: Tokenizer::load(folder, text.positions())?,
            text_projection: Linear::load_no_bias(text.width(), projected, &root.pp("text_projection"))?,
            text,
            dinov2: None,
            csd: None,
            hash: hash(folder)?,
            device: device.clone(),
        })
    }

    /// Takes maps from the DINOv2 in `folder`, which tells copies from images of one style better than CLIP.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn with_dinov2(mut self, folder: &Path) -> Result<Self> {
        let model = Dinov2::load(folder, &self.device)?;
        self.hash = joined(&self.hash, "dinov2", model.hash());
        Ok(Self { dinov2: Some(model), ..self })
    }

    /// Takes styles from the CSD at `path`: a safetensors file, or a folder with `model.safetensors`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn with_csd(mut self, path: &Path) -> Result<Self> {
        let model = Csd::load(path, &self.device)?;
        self.hash = joined(&self.hash, "csd", model.hash());
        Ok(Self { csd: Some(model), ..self })
    }

    /// Names the judge: sha256 over its files, and over the hashes of all parts where it has several.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Features of images of any size.
    ///
    /// # Errors
    /// An image lacks bytes; the computation fails.
    pub fn images(&self, images: &[Rgb8]) -> Result<Vec<ImageFeatures>> {
        let mut features = Vec::with_capacity(images.len());
        for batch in images.chunks(BATCH) {
            let inputs = batch
                .iter()
                .map(|image| self.preprocessor.apply(image, &self.device))
                .collect::<Result<Vec<_>>>()?;
            let layers = self.vision.layers();
            let after = [(2 * layers).div_ceil(3), layers / 2];
            let (pooled, [places, middle]) =
                self.vision.forward_with_places(&Tensor::cat(&inputs, 0)?, after)?;
            let embeddings = unit(&self.visual_projection.forward(&pooled.unsqueeze(1)?)?.squeeze(1)?)?;
            let places = self.dinov2.as_ref().map_or(Ok(places), |dinov2| dinov2.places(batch))?;
            let maps = unit(&unit(&places)?.flatten_from(1)?)?;
            let styles = match &self.csd {
                Some(csd) => csd.styles(batch)?,
                None => {
                    let mean = middle.mean_keepdim(1)?;
                    let deviation = middle.broadcast_sub(&mean)?.sqr()?.mean(1)?.sqrt()?;
                    unit(&Tensor::cat(&[mean.squeeze(1)?, deviation], 1)?)?
                }
            };
            let (maps, styles) = (maps.to_vec2()?, styles.to_vec2()?);
            let rows = embeddings.to_vec2()?.into_iter().zip(maps).zip(styles);
            features.extend(rows.map(|((embedding, map), style)| ImageFeatures { embedding, map, style }));
        }
        Ok(features)
    }

    /// Features of texts, each of length 1 (`text_embeds` of transformers); what is too long is cut off.
    ///
    /// # Errors
    /// The tokenizer does not belong to the text tower; the computation fails.
    pub fn texts(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let mut features = Vec::with_capacity(texts.len());
        for batch in texts.chunks(BATCH) {
            let tokens = batch.iter().map(|text| self.tokenizer.encode(text)).collect::<Result<Vec<_>>>()?;
            // Pooled is the state of the first end mark. What follows cannot influence it: attention is causal.
            let ends: Vec<usize> = tokens.iter().map(|tokens| tokens.used - 1).collect();
            let longest = ends.iter().max().map_or(0, |end| end + 1);
            let ids: Vec<Vec<u32>> =
                tokens.into_iter().map(|tokens| tokens.ids[..longest].to_vec()).collect();
            let states = self.text.forward(&ids)?;
            let pooled = ends.iter().enumerate().map(|(row, end)| Ok(states.get(row)?.narrow(0, *end, 1)?));
            let pooled = Tensor::stack(&pooled.collect::<Result<Vec<_>>>()?, 0)?;
            let embeddings = unit(&self.text_projection.forward(&pooled)?.squeeze(1)?)?;
            features.extend(embeddings.to_vec2()?);
        }
        Ok(features)
    }
}

/// The hash of a judge and a part that it takes over features from.
fn joined(judge: &str, part: &str, hash: &str) -> String {
    hex::encode(Sha256::digest(format!("{judge}\n{hash}  {part}\n")))
}

/// sha256 over the weights and [`FILES`] of `folder`, as `sha256sum … | sha256sum` prints it.
fn hash(folder: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> =
        FILES.iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect();
    files.extend(find_weights(folder, "model")?);
    base_hash(folder, &files)
}
