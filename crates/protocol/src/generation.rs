//! Requests, jobs, images.

use serde::{Deserialize, Serialize};

use crate::{AdapterUse, EmbeddingUse, HiresRequest, HiresSpec, Progress, Rng, Sampler, VaeUse};

/// What a client asks for. Everything but the prompt may be left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GenerationRequest {
    /// What the image shows; at most 4,000 characters, may be empty; with A1111's weights and `<lora:name:strength>` tags.
    pub prompt: String,
    /// What it should not show.
    #[serde(default)]
    pub negative_prompt: String,
    /// 0 to 2⁵³ − 1; chosen at random when absent or −1. Image k of several uses seed + k.
    #[serde(default, deserialize_with = "crate::seed::optional")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<i64>, minimum = -1))]
    pub seed: Option<u64>,
    /// Denoising steps.
    #[serde(default)]
    pub steps: Option<u32>,
    /// Guidance scale; 1 turns guidance off.
    #[serde(default)]
    pub guidance: Option<f64>,
    /// Sampler name.
    #[serde(default)]
    pub sampler: Option<Sampler>,
    /// Whose noise the seed is for; `cpu` when absent.
    #[serde(default)]
    pub rng: Option<Rng>,
    /// Pixels, a multiple of 8.
    #[serde(default)]
    pub width: Option<u32>,
    /// Pixels, a multiple of 8.
    #[serde(default)]
    pub height: Option<u32>,
    /// Images to make.
    #[serde(default)]
    pub count: Option<u32>,
    /// A1111's: 1 reads the prompt from the text encoder's last layer, 2 from the one before it, and so on; always
    /// with the final layer norm. (diffusers counts the layers left out, so its `clip_skip` is one less.)
    #[serde(default)]
    pub clip_skip: Option<u32>,
    /// Refuse adapters that take effect only in part, instead of naming them in `warnings`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// Adapters to apply.
    #[serde(default)]
    pub adapters: Vec<AdapterUse>,
    /// An image to begin with: the hash of one that was uploaded or made here. One of another size is scaled to cover
    /// the size asked for and cut off evenly; where no size is asked for, its own is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_image: Option<String>,
    /// Hash of an image that says what of `init_image` is made anew: white is, black stays. Of another size, it is
    /// stretched to that of `init_image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
    /// How much `init_image` is changed, 0 to 1: that part of the steps is made. 0.75 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denoising_strength: Option<f64>,
    /// With a mask: whether the pixels that it leaves black are exactly those of `init_image` in the end; otherwise
    /// they have been through the autoencoder. True when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_unmasked: Option<bool>,
    /// A second, larger pass over the result. Not together with `init_image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hires: Option<HiresRequest>,
    /// What `POST /api/v1/recipe` found in an image and could not use, by name. Without effect in a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// What it read in part or left out: sentences. Without effect in a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A request that passed every check, with nothing left open. Only [`GenerationRequest::validate`] makes one
/// from outside input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GenerationSpec {
    /// Trimmed; may be empty; `<lora:…>` tags are still in it.
    pub prompt: String,
    /// Trimmed; may be empty.
    pub negative_prompt: String,
    /// Seed of the first image.
    pub seed: u64,
    /// Source of all noise: the start, and what stochastic samplers add.
    #[serde(default)]
    pub rng: Rng,
    /// Denoising steps.
    pub steps: u32,
    /// Guidance scale.
    pub guidance: f64,
    /// Sampler.
    pub sampler: Sampler,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Images to make.
    pub count: u32,
    /// From which layer of the text encoder, counted from the last, the prompt is read; 1 is the last.
    #[serde(default = "last_layer")]
    pub clip_skip: u32,
    /// Adapters, those of the prompt's tags last; with their full `name@vN` once the studio has resolved them.
    pub adapters: Vec<AdapterUse>,
    /// Hash of the image to begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_image: Option<String>,
    /// Hash of the image that says what is made anew (white); there is an `init_image` too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
    /// How much `init_image` is changed; there where that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denoising_strength: Option<f64>,
    /// Whether what the mask leaves black stays to the bit; there where a mask is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_unmasked: Option<bool>,
    /// A second, larger pass over the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hires: Option<HiresSpec>,
}

/// Rows written before there was a choice.
fn last_layer() -> u32 {
    1
}

impl From<GenerationSpec> for GenerationRequest {
    fn from(spec: GenerationSpec) -> Self {
        Self {
            prompt: spec.prompt,
            negative_prompt: spec.negative_prompt,
            seed: Some(spec.seed),
            steps: Some(spec.steps),
            guidance: Some(spec.guidance),
            sampler: Some(spec.sampler),
            rng: Some(spec.rng),
            width: Some(spec.width),
            height: Some(spec.height),
            count: Some(spec.count),
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

/// An image that was taken in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Upload {
    /// Its name: what `init_image` and `mask` take. The same pixels have the same name.
    pub hash: String,
    /// Pixels, after turning it as its EXIF data says.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// What is not as in the file, such as transparent areas that were laid over white: sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Where a generation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum GenerationState {
    /// Waiting for the worker.
    Queued,
    /// On the device.
    Running,
    /// Every image is there.
    Done,
    /// It could not be made; see `error`.
    Failed,
    /// Someone stopped it; images finished before that are kept.
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

    /// Whether it will never change again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// A generation as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Generation {
    /// UUID v7.
    pub id: String,
    /// Where it stands.
    pub state: GenerationState,
    /// What was asked, complete.
    pub spec: GenerationSpec,
    /// Milliseconds since 1970 (UTC).
    pub created_at: i64,
    /// When the worker took it.
    pub started_at: Option<i64>,
    /// When it reached its final state.
    pub finished_at: Option<i64>,
    /// Generations that go before it, while queued.
    pub ahead: Option<u32>,
    /// Expected milliseconds until it starts, while queued.
    pub wait_ms: Option<u64>,
    /// How far it is, while running.
    pub progress: Option<Progress>,
    /// Finished images.
    pub images: Vec<ImageRecord>,
    /// Why it failed: a sentence for people.
    pub error: Option<String>,
    /// What was asked for but takes effect only in part, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Where to go from here.
    pub links: Links,
}

/// Addresses of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Links {
    /// GET: this record. DELETE: cancel.
    #[serde(rename = "self")]
    pub this: String,
    /// GET: server-sent events.
    pub events: String,
    /// The page that shows it.
    pub page: String,
}

impl Links {
    /// The links of generation `id`.
    pub fn of(id: &str) -> Self {
        Self {
            this: format!("/api/v1/generations/{id}"),
            events: format!("/api/v1/generations/{id}/events"),
            page: format!("/?generation={id}"),
        }
    }
}

/// A finished image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImageRecord {
    /// sha256 of the PNG file, 64 hex digits; its name.
    pub hash: String,
    /// `/api/v1/images/{hash}.png`.
    pub url: String,
    /// The generation that made it.
    pub generation: String,
    /// Position in that generation, from 0.
    pub index: u32,
    /// Milliseconds since 1970 (UTC).
    pub created_at: i64,
    /// Everything that the image depends on.
    pub recipe: Recipe,
    /// The same as A1111's text, as written into the file.
    pub infotext: String,
}

/// Everything that one image depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Recipe {
    /// The request, with this image's own seed and a count of 1.
    pub spec: GenerationSpec,
    /// Hash of each adapter, in the order of `spec.adapters`.
    pub adapter_hashes: Vec<String>,
    /// The embeddings that the prompts name.
    #[serde(default)]
    pub embeddings: Vec<EmbeddingUse>,
    /// The VAE, where it is not the model's own.
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
    /// Version of the program.
    pub version: String,
    /// Names the weights that were in effect, base and adapters: the same fingerprint is the same bits. Empty in
    /// records of versions that had none.
    #[serde(default)]
    pub fingerprint: String,
    /// The safety checker withheld this image: it is black.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withheld: bool,
    /// Seconds the engine took for this image.
    pub seconds: f64,
    /// Seconds of them before the first step, for putting its adapters into effect.
    #[serde(default)]
    pub switch_seconds: f64,
    /// What was asked for but took effect only in part, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}
