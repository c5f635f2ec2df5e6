//! The optional NSFW checker of Stable Diffusion 1.x, as diffusers' StableDiffusionSafetyChecker: CLIP's image tower,
//! and how near its answer is to a list of concepts that is known only as vectors. Knows nothing of how an image came
//! about, or of what happens to one that is flagged.

mod verdict;

use std::path::Path;

use candle_core::{DType, Device, Tensor};

pub use self::verdict::SafetyVerdict;
use crate::{
    EngineError, Result, Rgb8,
    checkpoint::Checkpoint,
    clip::{ClipConfig, Preprocessor, VisionTower, unit},
    layers::Linear,
};

/// Rows of the two lists: fixed in diffusers.
const CONCEPTS: usize = 17;
const SPECIAL_CARE: usize = 3;

/// Looks at finished images.
#[derive(Debug)]
pub struct SafetyChecker {
    preprocessor: Preprocessor,
    vision: VisionTower,
    visual_projection: Linear,
    concepts: Concepts,
    special_care: Concepts,
    dtype: DType,
}

/// Vectors, normalised to length 1, each with the cosine from which on it counts.
#[derive(Debug)]
struct Concepts {
    /// [concepts, width], f32.
    embeds: Tensor,
    thresholds: Vec<f32>,
}

impl SafetyChecker {
    /// Loads `safety_checker/` (`config.json`, `model.safetensors`) and `feature_extractor/preprocessor_config.json`
    /// of a model folder, weights cast to `dtype`.
    ///
    /// # Errors
    /// The folder has none, or a file is missing, damaged, or of something else; the message names it.
    pub fn load(model: &Path, dtype: DType, device: &Device) -> Result<Self> {
        let folder = model.join("safety_checker");
        if !folder.is_dir() {
            let message = "has no safety checker (no folder safety_checker), but one is required. Use a model folder \
                that has one, or omit --safety-checker (ADIRE_SAFETY_CHECKER).";
            return Err(EngineError::model(model, message));
        }
        let config = ClipConfig::read(&folder)?;
        let preprocessor =
            Preprocessor::read(&model.join("feature_extractor"), config.vision_config.image_size)?;
        let checkpoint = Checkpoint::open(&folder, "model")?;
        let root = checkpoint.root(dtype, device);
        let concepts = |name: &str, count: usize| -> Result<Concepts> {
            let embeds = root.get((count, config.projection_dim), name)?;
            let thresholds = root.get(count, &format!("{name}_weights"))?.to_dtype(DType::F32)?.to_vec1()?;
            Ok(Concepts { embeds: unit(&embeds)?, thresholds })
        };
        let (width, projected) = (config.vision_config.hidden_size, config.projection_dim);
        // transformers 5 saves the tower one level higher than SD 1.5's own file has it.
        let outer = root.pp("vision_model");
        let inner = outer.pp("vision_model");
        let tower = if outer.has("embeddings.class_embedding") { outer } else { inner };
        Ok(Self {
            preprocessor,
            vision: VisionTower::load(&config.vision_config, &tower)?,
            visual_projection: Linear::load_no_bias(width, projected, &root.pp("visual_projection"))?,
            concepts: concepts("concept_embeds", CONCEPTS)?,
            special_care: concepts("special_care_embeds", SPECIAL_CARE)?,
            dtype,
        })
    }

    /// What the checker says of an image of any size.
    ///
    /// # Errors
    /// The image lacks bytes; the computation fails.
    pub fn check(&self, image: &Rgb8) -> Result<SafetyVerdict> {
        let input = self.preprocess(image)?.to_dtype(self.dtype)?;
        let embeds =
            self.visual_projection.forward(&self.vision.forward(&input)?.unsqueeze(1)?)?.squeeze(1)?;
        let embeds = unit(&embeds)?;
        let cosines = |concepts: &Concepts| -> Result<Vec<f32>> {
            Ok(embeds.matmul(&concepts.embeds.t()?)?.flatten_all()?.to_vec1()?)
        };
        Ok(SafetyVerdict::new(
            (&cosines(&self.special_care)?, &self.special_care.thresholds),
            (&cosines(&self.concepts)?, &self.concepts.thresholds),
        ))
    }

    /// What the tower sees of an image, [1, 3, side, side], f32: as transformers' CLIPImageProcessor (by Pillow).
    ///
    /// # Errors
    /// The image lacks bytes.
    pub fn preprocess(&self, image: &Rgb8) -> Result<Tensor> {
        self.preprocessor.apply(image, self.concepts.embeds.device())
    }
}
