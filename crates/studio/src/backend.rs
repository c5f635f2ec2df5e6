//! The interface between the studio and a model. An implementation stays on one thread for its whole life.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use adire_protocol::{
    AdapterReceipt, EmbeddingUse, GenerationSpec, MetricInfo, ModelInfo, TokenCount, TrainingConfig,
    TrainingForecast, TrainingPoint,
};

use crate::{LocalFile, MeasureRequest, Measurements, StudioError};

/// Counts a prompt's tokens on any thread, without waiting for the backend. `<lora:…>` tags have been taken out; the
/// words stand for so many vectors.
pub type TokenCounter = Arc<dyn Fn(&str, &[(String, u32)]) -> Result<TokenCount, BackendError> + Send + Sync>;

/// The words of the embeddings bundled in an adapter file, each with its number of vectors; none of a file that cannot be
/// read. On any thread, without waiting for the backend.
pub type BundledWords = Arc<dyn Fn(&Path) -> Vec<(String, u32)> + Send + Sync>;

/// What an embedding file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingFacts {
    /// Its word in prompts.
    pub word: String,
    /// Vectors that stand for the word.
    pub vectors: u32,
    /// Numbers in each of them.
    pub width: u32,
}

/// Why an embedding cannot be added: a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmbeddingFault {
    /// The file is not an embedding of this model.
    File(String),
    /// Prompts cannot hold the word.
    Word(String),
}

/// Reads an embedding file for this model: its name, its content and the word that it is to have, otherwise its own or its
/// name. On any thread, without waiting for the backend.
pub type EmbeddingReader =
    Arc<dyn Fn(&Path, &[u8], Option<&str>) -> Result<EmbeddingFacts, EmbeddingFault> + Send + Sync>;

/// Bytes of the GPU's memory, free ones and all; nothing for the CPU. On any thread, without waiting for the backend.
pub type MemoryGauge = Arc<dyn Fn() -> Option<(u64, u64)> + Send + Sync>;

/// A model on a device. Built on the worker thread and never moved off it, so it need not be `Send`.
///
/// Panics are caught: the job fails and the same backend receives the next one. State that a panic can
/// leave half made must therefore be detected or rebuilt by the implementation.
pub trait Backend: 'static {
    /// What is loaded. Asked once, after construction.
    fn info(&self) -> ModelInfo;

    /// What counts tokens the way this model reads them. Asked once, after construction.
    fn token_counter(&self) -> TokenCounter;

    /// What reads the words of adapter files. Asked once, after construction.
    fn bundled_words(&self) -> BundledWords;

    /// What reads embedding files. Asked once, after construction.
    fn embedding_reader(&self) -> EmbeddingReader;

    /// What reads the memory of the model's device. Asked once, after construction.
    fn memory_gauge(&self) -> MemoryGauge {
        Arc::new(|| None)
    }

    /// Reads an adapter file and tries it against the base model at strength 1.
    ///
    /// # Errors
    /// A sentence to show to the user: what is wrong with the file, what was expected.
    fn check_adapter(&mut self, path: &Path) -> Result<AdapterReceipt, BackendError>;

    /// Keeps the adapter files with these hashes at hand once they are used, in place of those before.
    fn pin(&mut self, hashes: Vec<String>);

    /// Renders one image. Calls `on_step` after every sampler step and stops when it returns `Break`.
    ///
    /// # Errors
    /// [`BackendError::Cancelled`] after a break, otherwise a sentence to show to the user.
    fn render(
        &mut self,
        job: &RenderRequest,
        on_step: &mut dyn FnMut(RenderStep) -> ControlFlow<()>,
    ) -> Result<Rendered, BackendError>;

    /// Most images that [`Self::render_batch`] gets. Asked once, after construction.
    fn batch(&self) -> usize {
        1
    }

    /// Renders images whose specs [share a batch](GenerationSpec::shares_batch), each as [`Self::render`] does; `on_update` gets
    /// the image's place in `jobs`, and its break after a step cancels that image alone. Images that are not
    /// [ended](ImageUpdate::Ended) on return, or by a panic, are rendered one by one.
    ///
    /// # Errors
    /// Why images had to be left to that.
    fn render_batch(
        &mut self,
        _jobs: &[RenderRequest],
        _on_update: &mut dyn FnMut(usize, ImageUpdate) -> ControlFlow<()>,
    ) -> Result<(), BackendError> {
        Ok(())
    }

    /// Begins a training run, or takes it up where its folder's checkpoint left it. Does no long work: that is
    /// [`Self::advance_training`]'s. A run that was under way is dropped.
    ///
    /// # Errors
    /// A sentence to show to the user.
    fn begin_training(&mut self, task: TrainingTask) -> Result<(), BackendError>;

    /// Does one small unit of the run: an image prepared, a measurement, a step, a sample. The same run does the same
    /// units and ends with the same bytes, however often it is taken up again and whatever images are made between.
    /// A sample is broken off as soon as `interrupted` says so, and made later.
    ///
    /// # Errors
    /// A sentence to show to the user; the run has then ended.
    fn advance_training(&mut self, interrupted: &dyn Fn() -> bool) -> Result<UnitOutcome, BackendError>;

    /// Writes a checkpoint of the run, if it has come so far that it has one.
    ///
    /// # Errors
    /// A sentence to show to the user; the checkpoint before is untouched.
    fn save_training(&mut self) -> Result<(), BackendError>;

    /// Drops the run, if there is one.
    fn end_training(&mut self);

    /// The judge of this model, loaded at the first call.
    ///
    /// # Errors
    /// A sentence to show to the user: no judge, or its files cannot be used; which command fetches one.
    fn judge(&mut self) -> Result<JudgeInfo, BackendError>;

    /// What the judge sees in images and texts.
    ///
    /// # Errors
    /// A sentence to show to the user; as for [`Self::judge`].
    fn features(&mut self, request: &FeatureRequest) -> Result<FeatureSet, BackendError>;

    /// The metrics that [`Self::measure`] computes. A revision grows when a metric's result changes for the same features.
    fn metrics(&self) -> Vec<MetricInfo>;

    /// Computes metrics from features.
    ///
    /// # Errors
    /// A sentence to show to the user: features of different lengths, or not finite.
    fn measure(&mut self, request: &MeasureRequest) -> Result<Measurements, BackendError>;

    /// Positions of the images that a training run with these repeat counts and settings holds out: none of their repeats
    /// is trained on.
    fn held_out(&self, repeats: &[u32], config: &TrainingConfig) -> Vec<usize>;
}

/// The model whose features an evaluation scores by. Scores of two judges cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgeInfo {
    /// For people: a name on the Hugging Face Hub, or the folder's.
    pub name: String,
    /// sha256 over its files, 64 hex digits.
    pub hash: String,
    /// Changes when the program computes other features from the same files.
    pub revision: u32,
}

/// Images and texts to compute features of. A request holds the worker, so a caller with many images sends several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeatureRequest {
    /// Of any size.
    pub images: Vec<Pixels>,
    /// Prompts in plain words, without triggers or tags.
    pub texts: Vec<String>,
    /// Whether to return [`FeatureSet::maps`]: CLIP ViT-L/14's are 1 MB for each image.
    pub maps: bool,
}

/// Features in the order of the request. Every vector has length 1, so a dot product is a cosine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeatureSet {
    /// One for each image, comparable with `texts`.
    pub images: Vec<Vec<f32>>,
    /// One for each image: its textures and colours, with little of what it shows.
    pub styles: Vec<Vec<f32>>,
    /// One for each image: what it shows place by place, for tests of copying. Empty unless requested.
    pub maps: Vec<Vec<f32>>,
    /// Of each image, whether it is of one colour.
    pub flat: Vec<bool>,
    /// One for each text.
    pub texts: Vec<Vec<f32>>,
}

/// A training run to start or resume.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingTask {
    /// Name of the adapter.
    pub name: String,
    /// Trigger word; may be empty.
    pub trigger: String,
    /// Every setting.
    pub config: TrainingConfig,
    /// sha256 of the dataset's content.
    pub dataset_hash: String,
    /// Images of the subject or style.
    pub images: Vec<TrainingImage>,
    /// Images of its class; may be empty.
    pub classes: Vec<TrainingImage>,
    /// What the base model makes the class images of that [`TrainingConfig::class_images`] asks for beyond those.
    pub class_prompt: String,
    /// The version that the run begins with.
    pub continue_from: Option<AdapterFile>,
    /// Where checkpoint and results go. It exists.
    pub folder: PathBuf,
    /// What an earlier part of the run has found; what belongs to updates after its checkpoint does not count.
    pub known: KnownResults,
}

/// An image to train on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingImage {
    /// For messages.
    pub name: String,
    /// The file, which [`crate::read_pixels`] reads.
    pub path: LocalFile,
    /// Text the text encoder receives.
    pub caption: String,
    /// Repeats per epoch.
    pub repeats: u32,
}

/// Results of earlier parts of a run, which need not be computed again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KnownResults {
    /// Held-out losses by the number of updates.
    pub held_out: Vec<(u32, f64)>,
    /// Samples: updates, place of the prompt, with the adapter or without.
    pub samples: Vec<(u32, u32, bool)>,
    /// Whether time and memory have been forecast.
    pub forecast: bool,
}

/// Outcome of one unit of training.
#[derive(Clone, Debug, PartialEq)]
pub enum UnitOutcome {
    /// A class image was made and kept.
    ClassImage {
        /// Images made.
        done: u32,
        /// Images to make in all.
        total: u32,
    },
    /// An image became latents.
    Preparing {
        /// Images done.
        done: u32,
        /// Images in all, repeats counted.
        total: u32,
    },
    /// Everything is ready. The run stands after that many updates; whatever is known of later ones does not count.
    Ready {
        /// Optimizer steps done.
        step: u32,
        /// Images that are trained on, repeats and crops counted.
        instances: u32,
        /// Images that are held out, repeats counted.
        held_out: u32,
        /// Captions that are longer than the text encoder can take.
        truncated: u32,
    },
    /// Three steps were made and undone.
    Forecast(TrainingForecast),
    /// Part of a measurement is done.
    Measuring {
        /// Parts done.
        done: u32,
        /// Parts in all.
        total: u32,
    },
    /// A measurement is done.
    HeldOut {
        /// Optimizer steps done.
        step: u32,
        /// The held-out loss.
        loss: f64,
    },
    /// A micro-step that completed no update.
    Step,
    /// A micro-step that completed an update.
    Updated(TrainingPoint),
    /// The loss was NaN or infinite: the run rolled back and continues at half the learning rate.
    Rewound {
        /// Updates made, as it stands now.
        step: u32,
    },
    /// A checkpoint is written.
    Saved {
        /// Optimizer steps done.
        step: u32,
    },
    /// An image to look at.
    Sample {
        /// Optimizer steps done.
        step: u32,
        /// Place of the prompt in the settings.
        prompt_index: u32,
        /// Whether what was trained took part.
        with_adapter: bool,
        /// The image.
        pixels: Pixels,
    },
    /// A sample or class image was interrupted; it is rendered later.
    PutOff,
    /// The run is finished; the adapter is in this file.
    Finished {
        /// In the run's folder.
        adapter: PathBuf,
    },
}

/// A request to render one image.
#[derive(Clone, Debug, PartialEq)]
pub struct RenderRequest {
    /// The request with this image's own seed and a count of 1.
    pub spec: GenerationSpec,
    /// The adapters of `spec`, in its order.
    pub adapters: Vec<AdapterFile>,
    /// Every embedding that prompts may name.
    pub embeddings: Vec<EmbeddingFile>,
    /// The images that `spec` names.
    pub init: Option<InitFiles>,
}

/// The image that a job begins with, as files that [`crate::read_pixels`] reads; of any size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitFiles {
    /// The image.
    pub image: LocalFile,
    /// Mask: white is regenerated, black is kept.
    pub mask: Option<LocalFile>,
}

/// An adapter version as a file that can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterFile {
    /// `name@vN`.
    pub id: String,
    /// sha256 of the file, 64 hex digits.
    pub hash: String,
    /// The file; its name carries no meaning.
    pub path: LocalFile,
    /// Multiplies its effect in the UNet.
    pub strength: f64,
    /// Multiplies its effect in the text encoder.
    pub te_strength: f64,
}

/// An embedding as a file that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingFile {
    /// The word that stands for it.
    pub word: String,
    /// sha256 of the file, 64 hex digits.
    pub hash: String,
    /// How many vectors it has.
    pub vectors: u32,
    /// The file; its name carries no meaning.
    pub path: LocalFile,
}

/// A finished sampler step.
#[derive(Clone, Debug, PartialEq)]
pub struct RenderStep {
    /// Steps done, from 1.
    pub step: u32,
    /// Steps in all, those of a second pass included ([`GenerationSpec::total_steps`]).
    pub steps: u32,
    /// The latent, roughly coloured; a few dozen pixels wide.
    pub preview: Option<Pixels>,
}

/// What a batch reports of one of its images.
#[derive(Clone, Debug, PartialEq)]
pub enum ImageUpdate {
    /// It is being made, together with others.
    Begun {
        /// Images that are computed at once, itself included.
        together: u32,
    },
    /// A step was done.
    Step(RenderStep),
    /// It is made, was cancelled, or failed. Nothing follows.
    Ended(Result<Rendered, BackendError>),
}

/// An RGB image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `3 × width × height` bytes, row by row from the top.
    pub rgb: Vec<u8>,
}

/// A finished image.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The image.
    pub pixels: Pixels,
    /// Names the weights that were in effect.
    pub fingerprint: String,
    /// A safety checker withheld it: the pixels are black.
    pub withheld: bool,
    /// Seconds the engine took for it.
    pub seconds: f64,
    /// Seconds it took to put the adapters into effect.
    pub switch_seconds: f64,
    /// Whether others were in effect before; the worker fills it in.
    pub switched: bool,
    /// The embeddings that the prompts name.
    pub embeddings: Vec<EmbeddingUse>,
    /// Adapters that took effect only in part, one sentence each.
    pub warnings: Vec<String>,
}

/// Why the backend failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// `on_step` returned `Break`.
    #[error("cancelled")]
    Cancelled,
    /// A sentence to show to the user.
    #[error("{0}")]
    Failed(String),
}

impl From<BackendError> for StudioError {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Failed(text) => Self::Backend(text),
            BackendError::Cancelled => Self::ShuttingDown,
        }
    }
}
