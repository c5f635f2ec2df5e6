//! The pipeline from request to image: text encoding, guided denoising, decoding, safety checker. Knows neither jobs
//! nor any files but the model's.

mod batch;
mod folder;
mod images;
mod init_image;
mod passes;
mod planned;
mod preview;
mod single;
mod training;
mod upscale;

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Instant,
};

use adire_protocol::{GenerationSpec, ModelInfo, lora_tag};
use candle_core::{DType, Device, Tensor};

pub use self::batch::ImageUpdate;
pub use self::init_image::{InitImage, InpaintMask};
pub(crate) use self::planned::Models;
use self::preview::Preview;
use crate::{
    Embedding, Embeddings, EngineError, Gpu, Manifest, Result, Rgb8, SafetyChecker, TextEncoder, Tokenizer,
    UNet, Vae,
    adapter::{self, Adapter, Changed, Prints, Receipt, Strength, Targets},
    checkpoint::Reading,
    plan::{self, Target},
    sampler::NoiseSchedule,
    text::{TextConfig, context_with},
};

/// Device, precision and extra files for loading a model.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The device that holds the weights.
    pub device: Device,
    /// The GPU that computes beside it, if there is one. See [`crate::Placement`].
    pub gpu: Option<Gpu>,
    /// Compute precision of the text encoder and the UNet; their weights are cast to it. See [`crate::Placement`].
    pub dtype: DType,
    /// Folder with CLIP's `vocab.json` and `merges.txt`, for a single-file checkpoint.
    pub tokenizer: Option<PathBuf>,
    /// Folder in Hugging Face layout whose configs (and tokenizer) belong to a single-file checkpoint that has
    /// another structure than Stable Diffusion 1.5; its weights are not read.
    pub config: Option<PathBuf>,
    /// VAE instead of the model's own: a folder, or a file under diffusers' names or those of the original code.
    pub vae: Option<PathBuf>,
    /// Whether to run the model's safety checker on every image; loading fails if the folder has none.
    pub safety_checker: bool,
}

impl Default for LoadOptions {
    /// The CPU in f32, no safety checker.
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            gpu: None,
            dtype: DType::F32,
            tokenizer: None,
            config: None,
            vae: None,
            safety_checker: false,
        }
    }
}

impl LoadOptions {
    /// The GPU that plans run on.
    pub(crate) fn target(&self) -> Option<Target> {
        self.gpu.as_ref().map(|gpu| gpu.target(self.dtype))
    }

    /// When the weights of layers are read: a plan does so itself.
    pub(crate) fn reading(&self) -> Reading {
        let is_planned = self.gpu.is_some() || plan::is_on(&self.device, self.dtype);
        if is_planned { Reading::Deferred } else { Reading::Now }
    }

    /// The type of the models' tensors.
    pub(crate) fn tensors(&self) -> DType {
        if self.gpu.is_some() { DType::F32 } else { plan::tensors(&self.device, self.dtype) }
    }
}

/// Progress report after each step.
#[derive(Debug)]
pub struct StepReport {
    /// Steps done, from 1.
    pub step: u32,
    /// Steps in total, including those of the hires pass ([`GenerationSpec::total_steps`]).
    pub steps: u32,
    /// Current estimate of the image, one pixel per latent.
    pub preview: Rgb8,
}

/// A finished image.
#[derive(Debug)]
pub struct Output {
    /// The image.
    pub image: Rgb8,
    /// The latent it was decoded from, [1, channels, height, width], f32.
    pub latents: Tensor,
    /// Whether the safety checker blocked the image: it is black, the latent zero.
    pub withheld: bool,
    /// Seconds for the whole image; of a batch, its share.
    pub seconds: f64,
    /// Embeddings used by the prompts: word and sha256 of the file.
    pub embeddings: Vec<(String, String)>,
}

/// A loaded Stable Diffusion model.
#[derive(Debug)]
pub struct Pipeline {
    info: ModelInfo,
    manifest: Manifest,
    tokenizer: Arc<Tokenizer>,
    text: TextEncoder,
    unet: UNet,
    /// How text encoder and UNet compute.
    models: Models,
    vae: Vae,
    schedule: NoiseSchedule,
    preview: Preview,
    safety: Option<SafetyChecker>,
    device: Device,
    gpu: Option<Gpu>,
    dtype: DType,
    /// Cache of the last prompts and clip skip with their encoded context.
    context: Option<((Vec<String>, u32), Context)>,
    /// Embeddings from files of their own, by word.
    own: Vec<(String, Arc<Embedding>)>,
    /// `own` and the embeddings bundled with the active adapters.
    embeddings: Embeddings,
    /// The active adapters; `None` before the first switch and after a failed one.
    adapters: Option<ActiveAdapters>,
    /// Where adapters' layers belong, once one was switched to.
    targets: Option<Targets>,
    /// Fingerprints of earlier switches.
    prints: Prints,
}

/// Encoded prompts that the UNet attends to, and the embeddings in them: word and sha256.
#[derive(Clone, Debug)]
struct Context {
    states: Tensor,
    embeddings: Vec<(String, String)>,
}

/// The adapters applied to the base model.
#[derive(Debug)]
struct ActiveAdapters {
    /// Hash and strength of each.
    adapters: Vec<(String, Strength)>,
    receipts: Vec<Receipt>,
    /// What they have changed, and its fingerprint, once somebody asks for it: hashing takes longer than merging.
    changed: Changed,
    fingerprint: OnceLock<String>,
    /// Embeddings bundled with them.
    embeddings: Vec<(String, Arc<Embedding>)>,
}

impl Pipeline {
    /// Loads a folder in Hugging Face layout (`model_index.json`, `text_encoder`, `tokenizer`, `unet`, `vae`,
    /// `scheduler`, and `adire.json` if there is one), or a single-file checkpoint under the names of the original
    /// code, with Stable Diffusion 1.5's own configs and a tokenizer that `options` names.
    ///
    /// # Errors
    /// A file is missing, damaged or of another family of models; the message names it and what to do.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self> {
        if path.is_file() { single::load(path, options) } else { folder::load(path, options) }
    }

    /// Reads the width of a model's text encoder from its configs ([`LoadOptions::config`]).
    ///
    /// # Errors
    /// The configs cannot be read.
    pub fn width_of_text(path: &Path, config: Option<&Path>) -> Result<usize> {
        let folder = if path.is_dir() { Some(path) } else { config };
        let read = folder.map(|folder| TextConfig::read(&folder.join("text_encoder"))).transpose()?;
        Ok(read.unwrap_or_else(TextConfig::sd15).hidden_size)
    }

    #[expect(clippy::too_many_arguments, reason = "the one constructor, called by both loaders")]
    fn new(
        info: ModelInfo,
        manifest: Manifest,
        tokenizer: Tokenizer,
        text: TextEncoder,
        unet: UNet,
        vae: Vae,
        schedule: NoiseSchedule,
        preview: Preview,
        safety: Option<SafetyChecker>,
        options: LoadOptions,
    ) -> Self {
        let (models, dtype) = (Models::new(&options), options.tensors());
        let LoadOptions { device, gpu, .. } = options;
        // The first switch of adapters fills these.
        let (context, adapters) = (None, None);
        Self {
            info,
            manifest,
            tokenizer: Arc::new(tokenizer),
            text,
            unet,
            models,
            vae,
            schedule,
            preview,
            safety,
            device,
            gpu,
            dtype,
            context,
            own: Vec::new(),
            embeddings: Embeddings::default(),
            adapters,
            targets: None,
            prints: Prints::default(),
        }
    }

    /// Information about the model.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The model folder's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The device that the model is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The GPU that computes beside it, if there is one.
    pub fn gpu(&self) -> Option<&Gpu> {
        self.gpu.as_ref()
    }

    /// The tokenizer, shared so that other threads can count tokens while this one generates.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// Applies exactly these adapters at these strengths; an empty list restores the base model bit for bit. A no-op if
    /// they are already active.
    ///
    /// # Errors
    /// As [`adapter::apply`]; the active adapters are then none or unchanged.
    pub fn set_adapters(&mut self, adapters: &[(Arc<Adapter>, Strength)]) -> Result<Vec<Receipt>> {
        let wanted: Vec<_> = adapters.iter().map(|(a, strength)| (a.hash().to_owned(), *strength)).collect();
        if let Some(ActiveAdapters { adapters, receipts, .. }) = &self.adapters
            && *adapters == wanted
        {
            return Ok(receipts.clone());
        }
        self.adapters = None;
        self.context = None;
        self.embeddings = Embeddings::default();
        let borrowed: Vec<_> = adapters.iter().map(|(a, strength)| (a.as_ref(), *strength)).collect();
        self.models.pack(&mut self.unet, &mut self.text)?;
        let (unet, text) = (&mut self.unet, &mut self.text);
        let receipts =
            adapter::apply_at(&mut self.targets, &borrowed, &mut |f| adapter::visit(unet, text, f))?;
        self.models.prepare(&mut self.unet, &mut self.text)?;
        let (unet, text) = (&mut self.unet, &mut self.text);
        let changed = Changed::of(&mut |f| adapter::visit(unet, text, f))?;
        let mut embeddings = Vec::new();
        for (adapter, _) in adapters {
            for (word, vectors) in adapter.embeddings() {
                let embedding = Embedding::bundled(adapter.path(), adapter.hash(), word, vectors)?;
                embeddings.push((word.clone(), Arc::new(embedding)));
            }
        }
        let fingerprint = OnceLock::new();
        let active =
            ActiveAdapters { adapters: wanted, receipts: receipts.clone(), changed, fingerprint, embeddings };
        // Last, so that an embedding that does not fit leaves no adapter active, like every error here.
        self.embeddings = self.joined(&self.own, &active.embeddings)?;
        self.adapters = Some(active);
        Ok(receipts)
    }

    /// Sets the embeddings that prompts can use, in addition to those bundled with the active adapters; these take
    /// precedence over bundled ones with the same word, as in A1111.
    ///
    /// # Errors
    /// One does not match the text encoder's width or has more vectors than fit in a chunk; the previous ones stay.
    pub fn set_embeddings(&mut self, embeddings: Vec<(String, Arc<Embedding>)>) -> Result<()> {
        if self.own == embeddings {
            return Ok(());
        }
        let bundled = self.adapters.as_ref().map(|active| active.embeddings.as_slice());
        self.embeddings = self.joined(&embeddings, bundled.unwrap_or_default())?;
        self.own = embeddings;
        self.context = None;
        Ok(())
    }

    fn joined(
        &self,
        own: &[(String, Arc<Embedding>)],
        bundled: &[(String, Arc<Embedding>)],
    ) -> Result<Embeddings> {
        Embeddings::new(&self.tokenizer, self.text.width(), [own, bundled].concat())
    }

    /// Width of the text encoder: 768 for Stable Diffusion 1.x.
    pub fn text_width(&self) -> usize {
        self.text.width()
    }

    /// The fingerprint ([`adapter::fingerprint`]) of the weights in effect; `None` before the first
    /// [`Self::set_adapters`] and after a failed one. The first call after a switch hashes what the adapters changed,
    /// unless the same changes were hashed before.
    ///
    /// # Errors
    /// Weights cannot be copied from their device.
    pub fn fingerprint(&self) -> Result<Option<&str>> {
        let Some(ActiveAdapters { changed, fingerprint, .. }) = &self.adapters else { return Ok(None) };
        if let Some(known) = fingerprint.get() {
            return Ok(Some(known));
        }
        let found = self.prints.get(changed, || changed.fingerprint(&self.info.hash))?;
        Ok(Some(fingerprint.get_or_init(|| found)))
    }

    /// [`Self::fingerprint`] of the weights as they lie in memory now.
    ///
    /// # Errors
    /// No adapters have been set, or weights cannot be copied from their device.
    pub fn hash_weights(&self) -> Result<String> {
        let unset = || EngineError::Request("no adapters have been set".to_owned());
        self.adapters.as_ref().ok_or_else(unset)?.changed.fingerprint(&self.info.hash)
    }

    /// Generates one image without an init image: see [`Self::generate_from`].
    ///
    /// # Errors
    /// As [`Self::generate_from`].
    pub fn generate(
        &mut self,
        spec: &GenerationSpec,
        on_step: &mut dyn FnMut(StepReport) -> ControlFlow<()>,
    ) -> Result<Output> {
        self.generate_from(spec, None, on_step)
    }

    /// Generates one image (`spec.count` is ignored), calling `on_step` after each step; a break cancels at once.
    ///
    /// Classifier-free guidance (Ho & Salimans 2022), unconditional + g·(conditional − unconditional), for g
    /// above 1; otherwise the prompt alone, as diffusers does it.
    ///
    /// With an `init_image`, denoising starts from it, noised according to `spec.denoising_strength`; with a mask, only
    /// the masked area changes (diffusers' img2img and inpaint pipelines, with one generator). With
    /// `spec.keep_unmasked`, the unmasked pixels are restored bit for bit at the end.
    ///
    /// With `spec.hires`, the result is upscaled, as latents or as an image, and denoised again as in img2img, with
    /// fresh noise from the same seed (A1111's hires fix).
    ///
    /// If the safety checker is loaded and flags the image, the image is black, as in diffusers.
    ///
    /// # Errors
    /// [`EngineError::Cancelled`] after a break; [`EngineError::Request`] for a size or number of steps that the
    /// model does not support, or an init image or mask that does not match `spec`; a failed computation.
    pub fn generate_from(
        &mut self,
        spec: &GenerationSpec,
        init_image: Option<InitImage<'_>>,
        on_step: &mut dyn FnMut(StepReport) -> ControlFlow<()>,
    ) -> Result<Output> {
        let begun = Instant::now();
        self.check(spec, init_image)?;
        self.models.prepare(&mut self.unet, &mut self.text)?;
        let context = self.context_of(spec)?;
        let mut made = Err(EngineError::Cancelled);
        self.images(begun, &[spec], &[&context], init_image, &mut |_, update| match update {
            ImageUpdate::Begun { .. } => ControlFlow::Continue(()),
            ImageUpdate::Step(step) => on_step(step),
            ImageUpdate::Ended(end) => {
                made = end;
                ControlFlow::Continue(())
            }
        })?;
        made
    }

    /// Validates the request against the model.
    fn check(&self, spec: &GenerationSpec, init_image: Option<InitImage<'_>>) -> Result<()> {
        let factor = self.vae.factor();
        let second = spec.hires.as_ref().map(|hires| (hires.width, hires.height));
        for (width, height) in [Some((spec.width, spec.height)), second].into_iter().flatten() {
            let fits = |side: u32| side as usize >= factor && (side as usize).is_multiple_of(factor);
            if !fits(width) || !fits(height) {
                return Err(EngineError::Request(format!(
                    "the size is {width} × {height}; both sides must be multiples of {factor}"
                )));
            }
        }
        match (init_image, spec.init_image.is_some(), spec.mask.is_some()) {
            (None, false, false) => Ok(()),
            (Some(init_image), true, mask) if mask == init_image.mask.is_some() => {
                init_image.check(spec.width, spec.height)
            }
            _ => Err(EngineError::Request(
                "the request's init_image and mask do not match the given images".to_owned(),
            )),
        }
    }

    /// Decodes `latents` [1, channels, height, width].
    fn decode_image(&self, latents: &Tensor) -> Result<Rgb8> {
        Rgb8::from_tensor(&self.vae.decode(latents)?.squeeze(0)?)
    }

    /// Seconds that it takes to encode prompts: what an image's first step begins with. For measuring.
    ///
    /// # Errors
    /// The computation fails.
    pub fn time_prompts(&mut self, prompts: &[&str]) -> Result<f64> {
        self.context = None;
        let begun = Instant::now();
        self.context(prompts.iter().map(|prompt| (*prompt).to_owned()).collect(), 1)?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// The encoded prompts of a spec.
    fn context_of(&mut self, spec: &GenerationSpec) -> Result<Context> {
        let prompt = lora_tag::without(&spec.prompt).into_owned();
        let guided = spec.guidance > 1.0;
        let prompts = if guided { vec![spec.negative_prompt.clone(), prompt] } else { vec![prompt] };
        self.context(prompts, spec.clip_skip)
    }

    /// Encodes the prompts, or returns the cached context ([`crate::context`]).
    fn context(&mut self, prompts: Vec<String>, clip_skip: u32) -> Result<Context> {
        let wanted = (prompts, clip_skip);
        if let Some((known, context)) = &self.context
            && *known == wanted
        {
            return Ok(context.clone());
        }
        let (prompts, clip_skip) = (&wanted.0, clip_skip as usize);
        let (states, used) = self.with_room(|pipeline| {
            let Self { tokenizer, text, models, embeddings, .. } = pipeline;
            context_with(tokenizer, text, models.text().as_deref(), embeddings, prompts, clip_skip)
        })?;
        let used = used.into_iter().filter_map(|place| self.embeddings.get(place));
        let embeddings = used.map(|(word, embedding)| (word.clone(), embedding.hash().to_owned())).collect();
        let context = Context { states, embeddings };
        self.context = Some((wanted, context.clone()));
        Ok(context)
    }
}
