//! Generations: request, spec, record, images and recipe.

use serde::{Deserialize, Serialize};

use crate::{
    AdapterUse, EmbeddingUse, HiresRequest, HiresSpec, INIT_STRENGTH, Pass, Progress, Rng, SamplerName,
    Sampling, Schedule, Template, VaeUse, template,
};

/// Request for a generation. Everything but the prompt is optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GenerationRequest {
    /// Prompt, up to 4,000 characters, may be empty; supports A1111's weights, `<lora:name:strength>` tags, choices such as
    /// `{red|blue}` and wildcard lists such as `__colour__`.
    pub prompt: String,
    /// Negative prompt.
    #[serde(default)]
    pub negative_prompt: String,
    /// Its range and default are in `FIELDS`, as are those of all fields without a sentence of their own.
    #[serde(default, deserialize_with = "crate::seed::optional")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<i64>, minimum = -1))]
    pub seed: Option<u64>,
    /// Variation seed.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::seed::optional")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<i64>, minimum = -1))]
    pub subseed: Option<u64>,
    /// Variation strength.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subseed_strength: Option<f64>,
    /// Whether each line of the prompt is a prompt of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_line: Option<bool>,
    /// Steps.
    #[serde(default)]
    pub steps: Option<u32>,
    /// Guidance scale.
    #[serde(default)]
    pub guidance: Option<f64>,
    /// Sampler.
    #[serde(default)]
    pub sampler: Option<SamplerName>,
    /// Schedule.
    #[serde(default)]
    pub schedule: Option<Schedule>,
    /// Noise source.
    #[serde(default)]
    pub rng: Option<Rng>,
    /// Pixels.
    #[serde(default)]
    pub width: Option<u32>,
    /// Pixels.
    #[serde(default)]
    pub height: Option<u32>,
    /// Number of images.
    #[serde(default)]
    pub count: Option<u32>,
    /// Clip skip.
    #[serde(default)]
    pub clip_skip: Option<u32>,
    /// Refuse adapters that apply only in part, instead of listing them in `warnings`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// Adapters to apply.
    #[serde(default)]
    pub adapters: Vec<AdapterUse>,
    /// Init image: hash of an upload or generated image. Scaled to cover `width` × `height` and centre-cropped; without a
    /// size, its own is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_image: Option<String>,
    /// Mask for inpainting: hash of an image whose white areas are regenerated and black areas kept. Stretched to the
    /// size of `init_image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
    /// Denoising strength.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denoising_strength: Option<f64>,
    /// Whether unmasked pixels stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_unmasked: Option<bool>,
    /// Hires fix. Cannot be combined with `init_image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hires: Option<HiresRequest>,
    /// Parameters that `POST /api/v1/recipe` found in an image and did not use. Ignored in a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// Sentences about parameters that it used only in part or skipped. Ignored in a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl GenerationRequest {
    /// Its sampler and schedule, if it names a sampler.
    pub fn sampling(&self) -> Option<Sampling> {
        self.sampler.map(|name| Sampling::named(name, self.schedule))
    }
}

/// A validated request with all defaults filled in. From outside input, only [`GenerationRequest::validate`] creates
/// one; the default, which renders nothing, is for what tests leave out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GenerationSpec {
    /// Trimmed; may be empty; `<lora:…>` tags are still in it.
    pub prompt: String,
    /// Trimmed; may be empty.
    pub negative_prompt: String,
    /// Seed of the first image.
    pub seed: u64,
    /// Variation seed of the first image; set exactly if `subseed_strength` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subseed: Option<u64>,
    /// Variation strength, if it is above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subseed_strength: Option<f64>,
    /// Noise source of the initial latent and of stochastic samplers.
    #[serde(default)]
    pub rng: Rng,
    /// Steps.
    pub steps: u32,
    /// Guidance scale.
    pub guidance: f64,
    /// Sampler and schedule, two fields on the wire.
    #[serde(flatten)]
    pub sampling: Sampling,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Number of images.
    pub count: u32,
    /// Text-encoder layer that is used, counted from the last; 1 is the last.
    #[serde(default = "last_layer")]
    pub clip_skip: u32,
    /// Adapters, those of the prompt's tags last; as full `name@vN` once the studio has resolved them.
    pub adapters: Vec<AdapterUse>,
    /// Hash of the init image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_image: Option<String>,
    /// Hash of the mask; requires `init_image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
    /// Denoising strength; set exactly if `init_image` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denoising_strength: Option<f64>,
    /// Whether unmasked pixels stay bit-identical; set exactly if `mask` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_unmasked: Option<bool>,
    /// Hires fix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hires: Option<HiresSpec>,
    /// What the prompts were made of, if that was a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
}

/// Default for rows of older versions.
fn last_layer() -> u32 {
    1
}

impl GenerationSpec {
    /// The values of a request in which each has been filled in: all that stand on their own.
    pub(crate) fn of_filled(request: &GenerationRequest) -> Self {
        Self {
            seed: request.seed.unwrap_or_default(),
            rng: request.rng.unwrap_or_default(),
            steps: request.steps.unwrap_or_default(),
            guidance: request.guidance.unwrap_or_default(),
            width: request.width.unwrap_or_default(),
            height: request.height.unwrap_or_default(),
            count: request.count.unwrap_or_default(),
            clip_skip: request.clip_skip.unwrap_or_else(last_layer),
            ..Self::default()
        }
    }
}

/// What a request says that a spec has in another shape.
struct Requested {
    prompt: String,
    negative_prompt: String,
    per_line: Option<bool>,
    count: u32,
}

impl GenerationSpec {
    /// A generation's template where it has one, and the prompt of an image as it was.
    fn requested(&self) -> Requested {
        match self.template.as_ref().filter(|template| !template.images.is_empty()) {
            Some(template) => {
                let lines =
                    if template.per_line { template::lines(&template.prompt).len().max(1) } else { 1 };
                Requested {
                    prompt: template.prompt.clone(),
                    negative_prompt: template.negative_prompt.clone(),
                    per_line: template.per_line.then_some(true),
                    count: self.count / u32::try_from(lines).unwrap_or(u32::MAX),
                }
            }
            None => Requested {
                prompt: self.prompt.clone(),
                negative_prompt: self.negative_prompt.clone(),
                per_line: None,
                count: self.count,
            },
        }
    }
}

impl From<GenerationSpec> for GenerationRequest {
    fn from(spec: GenerationSpec) -> Self {
        let Requested { prompt, negative_prompt, per_line, count } = spec.requested();
        Self {
            prompt,
            negative_prompt,
            seed: Some(spec.seed),
            subseed: spec.subseed,
            subseed_strength: spec.subseed_strength,
            per_line,
            steps: Some(spec.steps),
            guidance: Some(spec.guidance),
            sampler: Some(spec.sampling.into()),
            schedule: Some(spec.sampling.schedule),
            rng: Some(spec.rng),
            width: Some(spec.width),
            height: Some(spec.height),
            count: Some(count),
            clip_skip: Some(spec.clip_skip),
            // The others are in the prompt.
            adapters: spec.adapters.into_iter().filter(|adapter| !adapter.in_prompt).collect(),
            init_image: spec.init_image,
            mask: spec.mask,
            denoising_strength: spec.denoising_strength,
            keep_unmasked: spec.keep_unmasked,
            hires: spec.hires.map(HiresRequest::from),
            unknown: Vec::new(),
            warnings: Vec::new(),
            strict: false,
        }
    }
}

/// An uploaded image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Upload {
    /// Its hash, for `init_image` and `mask`. Equal pixels have equal hashes.
    pub hash: String,
    /// Pixels, after applying the EXIF orientation.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Sentences about changes to the file's content, such as transparent areas blended with white.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// State of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum GenerationState {
    /// In the queue.
    Queued,
    /// Running on the worker.
    Running,
    /// All images are stored.
    Done,
    /// Failed; see `error`.
    Failed,
    /// Cancelled; images finished before are kept.
    Cancelled,
}

impl GenerationState {
    /// The name on the wire and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it is final.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// What a queued generation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// Generations of the same visitor only.
    OwnGenerations,
    /// Generations, some of them of others.
    OtherGenerations,
    /// The step of a training run that the device is at.
    TrainingStep,
    /// The image of an evaluation that the device is at.
    EvaluationStep,
}

impl WaitReason {
    /// All reasons.
    pub const ALL: [Self; 4] =
        [Self::OwnGenerations, Self::OtherGenerations, Self::TrainingStep, Self::EvaluationStep];

    /// Whether it is the device that is busy: the generation may have started.
    pub fn is_of_device(self) -> bool {
        matches!(self, Self::TrainingStep | Self::EvaluationStep)
    }

    /// Name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::OwnGenerations => "own_generations",
            Self::OtherGenerations => "other_generations",
            Self::TrainingStep => "training_step",
            Self::EvaluationStep => "evaluation_step",
        }
    }
}

/// A generation with its current state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Generation {
    /// UUID v7.
    pub id: String,
    /// State.
    pub state: GenerationState,
    /// The validated request.
    pub spec: GenerationSpec,
    /// Milliseconds since 1970 (UTC).
    pub created_at: i64,
    /// When it started.
    pub started_at: Option<i64>,
    /// When it reached its final state.
    pub finished_at: Option<i64>,
    /// Generations ahead of it, while queued.
    pub ahead: Option<u32>,
    /// Estimated milliseconds until it starts, while queued.
    pub wait_ms: Option<u64>,
    /// What it waits for, before its first step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_reason: Option<WaitReason>,
    /// Progress, while running.
    pub progress: Option<Progress>,
    /// Finished images.
    pub images: Vec<ImageRecord>,
    /// Why it failed, as a sentence to show.
    pub error: Option<String>,
    /// Adapters and settings that apply only in part, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Links to related resources.
    pub links: Links,
}

/// Links of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Links {
    /// GET: this record. DELETE: cancel.
    #[serde(rename = "self")]
    pub this: String,
    /// GET: server-sent events.
    pub events: String,
    /// Web page of the generation.
    pub page: String,
}

impl Links {
    /// Links of generation `id`.
    pub fn of(id: &str) -> Self {
        Self {
            this: format!("/api/v1/generations/{id}"),
            events: format!("/api/v1/generations/{id}/events"),
            page: format!("/?generation={id}"),
        }
    }
}

/// A generated image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImageRecord {
    /// sha256 of the PNG file, 64 hex digits; identifies the image.
    pub hash: String,
    /// `/api/v1/images/{hash}.png`.
    pub url: String,
    /// Its generation.
    pub generation: String,
    /// Index in that generation, from 0.
    pub index: u32,
    /// Milliseconds since 1970 (UTC).
    pub created_at: i64,
    /// Its recipe.
    pub recipe: Recipe,
    /// The recipe as A1111's infotext, as written into the file.
    pub infotext: String,
}

/// Recipe: everything that an image depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Recipe {
    /// The spec, with this image's own seed and a count of 1.
    pub spec: GenerationSpec,
    /// Hashes of the adapters, in the order of `spec.adapters`.
    pub adapter_hashes: Vec<String>,
    /// Embeddings used by the prompts.
    #[serde(default)]
    pub embeddings: Vec<EmbeddingUse>,
    /// The VAE, if it is not the model's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vae: Option<VaeUse>,
    /// Name of the base model.
    pub model: String,
    /// Hash of the base model.
    pub model_hash: String,
    /// `cpu`, `cuda:0`.
    pub device: String,
    /// `f32`, `f16`, `bf16`.
    pub dtype: String,
    /// Version of Adire.
    pub version: String,
    /// Fingerprint of the weights in effect, base plus adapters: equal fingerprints mean equal bits. Empty in records of
    /// older versions.
    #[serde(default)]
    pub fingerprint: String,
    /// Whether the safety checker blocked this image, which is then black.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withheld: bool,
    /// Seconds that the engine took for this image; of a batch, its share.
    pub seconds: f64,
    /// Of these, seconds spent on switching adapters.
    #[serde(default)]
    pub switch_seconds: f64,
    /// Adapters and settings that applied only in part, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl GenerationSpec {
    /// Schedule of the base pass: all steps, or with `init_image` the share given by the denoising strength.
    pub fn first_pass(&self) -> Pass {
        match (&self.init_image, self.denoising_strength) {
            (Some(_), strength) => Pass::of_strength(self.steps, strength.unwrap_or(INIT_STRENGTH)),
            (None, _) => Pass { schedule: self.steps, skip: 0 },
        }
    }

    /// Whether an image of this spec can be computed in one batch with one of `other`: from noise alone, at the same size, in the
    /// same steps, with the same adapters. Prompts, seeds and guidance scales are each image's own.
    pub fn shares_batch(&self, other: &Self) -> bool {
        let from_noise = |spec: &Self| spec.init_image.is_none() && spec.hires.is_none();
        let is_guided = |spec: &Self| spec.guidance > 1.0;
        let weights = |adapter: &AdapterUse| (adapter.strength, adapter.text_encoder_strength());
        let same = |a: &AdapterUse, b: &AdapterUse| a.name == b.name && weights(a) == weights(b);
        from_noise(self)
            && from_noise(other)
            && (self.width, self.height, self.steps) == (other.width, other.height, other.steps)
            && (self.sampling, self.rng) == (other.sampling, other.rng)
            && is_guided(self) == is_guided(other)
            && self.adapters.len() == other.adapters.len()
            && self.adapters.iter().zip(&other.adapters).all(|(a, b)| same(a, b))
    }

    /// Steps per image, including those of the hires pass.
    pub fn total_steps(&self) -> u32 {
        let second = self.hires.as_ref().map_or(0, |hires| hires.pass().steps());
        self.first_pass().steps().saturating_add(second)
    }

    /// Width and height of the finished image.
    pub fn final_size(&self) -> (u32, u32) {
        self.hires.as_ref().map_or((self.width, self.height), |hires| (hires.width, hires.height))
    }
}
