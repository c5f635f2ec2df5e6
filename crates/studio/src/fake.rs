//! A backend without a model: coloured squares that depend on nothing but the request. For tests here and in
//! the server, and for work on the page.
//!
//! Prompts steer it: one that contains `fail!` fails, one with `panic!` panics, both after the first step. The images of a batch
//! make each step together. Trainings are numbers that follow from the settings and the images, one update for each step; a learning rate from 1 up breaks
//! down half-way, one from 1000 up does so again at half the rate. Its judge sees colours: an image is a histogram of
//! its hues, a text that of the colours that it names.

use std::{
    fs,
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use adire_protocol::{
    AdapterLayer, AdapterReceipt, Defaults, EmbeddingUse, ExamplePrompt, LeftOut, Limits, MetricInfo,
    ModelInfo, Sampling, TokenCount, TrainingConfig,
};
use sha2::{Digest, Sha256};

use crate::{
    AdapterFile, Backend, BackendError, BundledWords, EmbeddingFacts, EmbeddingFault, EmbeddingFile,
    EmbeddingReader, FeatureRequest, FeatureSet, ImageUpdate, JudgeInfo, MeasureRequest, Measurements,
    Pixels, RenderRequest, RenderStep, Rendered, TokenCounter, TrainingTask, UnitOutcome, read_pixels,
};

mod judge;
mod training;

pub use training::FakeRun;

/// What a file must begin with to pass as an adapter here.
pub const ADAPTER_MAGIC: &[u8] = b"fake adapter";

/// The in-memory queue; see the module documentation.
#[derive(Clone, Debug, Default)]
pub struct FakeBackend {
    /// How long each step takes.
    pub step_delay: Duration,
    /// How long an image takes besides its steps.
    pub fixed_delay: Duration,
    /// Counts the steps done by all clones; tests look at it from outside.
    pub steps_done: Arc<AtomicU64>,
    /// What each step waits for, if anything; see [`FakeBackend::latched`].
    pub latch: Option<Arc<Mutex<mpsc::Receiver<()>>>>,
    /// How long each unit of a training takes.
    pub unit_delay: Duration,
    /// What each unit of a training waits for, if anything; see [`FakeBackend::training_latched`].
    pub unit_latch: Option<Arc<Mutex<mpsc::Receiver<()>>>>,
    /// What was begun, in this order: a word for each image and each unit of a training.
    pub call_log: Arc<Mutex<Vec<String>>>,
    /// Images that it renders together; 0 is as 1.
    pub batch: usize,
    /// Whether there is no judge.
    pub without_judge: bool,
    /// Another model, which no adapter fits.
    pub other_model: bool,
    /// The training that is under way.
    pub run: Option<FakeRun>,
}

/// Lets the steps of a [`FakeBackend::latched`] happen one by one. Once it is dropped they run freely.
#[derive(Debug)]
pub struct StepLatch(mpsc::Sender<()>);

impl StepLatch {
    /// Lets `steps` more steps happen.
    pub fn allow(&self, steps: u32) {
        for _ in 0..steps {
            // Without a backend there is nobody to let through.
            let _ = self.0.send(());
        }
    }
}

impl FakeBackend {
    /// One whose steps take `step_delay`.
    pub fn new(step_delay: Duration) -> Self {
        Self { step_delay, ..Self::default() }
    }

    /// One whose steps wait to be allowed, so that a test does not depend on how fast the machine is.
    pub fn latched() -> (Self, StepLatch) {
        let (sender, receiver) = mpsc::channel();
        (Self { latch: Some(Arc::new(Mutex::new(receiver))), ..Self::default() }, StepLatch(sender))
    }
}

impl FakeBackend {
    /// One whose units of trainings wait to be allowed; images take no time.
    pub fn training_latched() -> (Self, StepLatch) {
        let (sender, receiver) = mpsc::channel();
        (Self { unit_latch: Some(Arc::new(Mutex::new(receiver))), ..Self::default() }, StepLatch(sender))
    }

    /// The calls so far, as [`FakeBackend::call_log`] gives them.
    pub fn call_log(&self) -> Vec<String> {
        self.call_log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Pictures of one number of steps, each of which is one for all of them. The updates are a batch's.
    fn pictures(
        &self,
        jobs: &[RenderRequest],
        on_update: &mut dyn FnMut(usize, ImageUpdate) -> ControlFlow<()>,
    ) {
        let start = Instant::now();
        let mut pictures = Vec::with_capacity(jobs.len());
        for (image, job) in jobs.iter().enumerate() {
            self.note(format!("picture {}", job.spec.prompt));
            let _ = on_update(image, ImageUpdate::Begun { together: jobs.len() as u32 });
            pictures.push(seed(job).map_err(|error| on_update(image, ImageUpdate::Ended(Err(error)))).ok());
        }
        for step in 1..=jobs.first().map_or(0, |job| job.spec.total_steps()) {
            if pictures.iter().all(Option::is_none) {
                return;
            }
            thread::sleep(self.step_delay);
            if let Some(latch) = &self.latch {
                // An error says that the latch was dropped: the way is free.
                let _ = latch.lock().unwrap_or_else(PoisonError::into_inner).recv();
            }
            self.steps_done.fetch_add(1, Ordering::Relaxed);
            for (image, (job, picture)) in jobs.iter().zip(&mut pictures).enumerate() {
                let Some((seed, _)) = picture else { continue };
                let spec = &job.spec;
                let preview = squares(seed, spec.width / 8, spec.height / 8);
                let step = RenderStep { step, steps: spec.total_steps(), preview: Some(preview) };
                let error = if on_update(image, ImageUpdate::Step(step)).is_break() {
                    BackendError::Cancelled
                } else if spec.prompt.contains("fail!") {
                    BackendError::Failed("The fake engine was asked to fail.".to_owned())
                } else {
                    assert!(!spec.prompt.contains("panic!"), "the fake engine was asked to panic");
                    continue;
                };
                *picture = None;
                let _ = on_update(image, ImageUpdate::Ended(Err(error)));
            }
        }
        thread::sleep(self.fixed_delay);
        for (image, (job, picture)) in jobs.iter().zip(pictures).enumerate() {
            let Some((seed, embeddings)) = picture else { continue };
            let (width, height) = job.spec.final_size();
            let mut pixels = squares(&seed, width, height);
            let withheld = job.spec.prompt.contains("withhold!");
            if withheld {
                pixels.rgb.fill(0);
            }
            let rendered = Rendered {
                pixels,
                fingerprint: "fa4e".repeat(16),
                withheld,
                seconds: start.elapsed().as_secs_f64() / jobs.len() as f64,
                switch_seconds: 0.0,
                switched: false,
                embeddings,
                warnings: Vec::new(),
            };
            let _ = on_update(image, ImageUpdate::Ended(Ok(rendered)));
        }
    }

    fn note(&self, word: impl Into<String>) {
        self.call_log.lock().unwrap_or_else(PoisonError::into_inner).push(word.into());
    }
}

/// What the colours of a picture depend on, and the embeddings that its prompt names.
type Seeded = ([u8; 32], Vec<EmbeddingUse>);

/// The same for everything in the request.
fn seed(job: &RenderRequest) -> Result<Seeded, BackendError> {
    let spec = &job.spec;
    let mut hasher = Sha256::new();
    let effective: Vec<&AdapterFile> = job.adapters.iter().filter(|file| !is_inert(file)).collect();
    let mut shown = spec.clone();
    // As in the engine, the prompt counts and not what it was made of.
    shown.template = None;
    shown.adapters.retain(|used| !job.adapters.iter().any(|file| file.id == used.name && is_inert(file)));
    hasher.update(format!("{shown:?}"));
    for adapter in effective {
        hasher.update(format!("{} {} {}", adapter.hash, adapter.strength, adapter.te_strength));
    }
    for path in job.init.iter().flat_map(|init| std::iter::once(&init.image).chain(&init.mask)) {
        let image = read_pixels(path).map_err(|error| BackendError::Failed(error.to_string()))?;
        hasher.update(image.rgb);
    }
    let named = |file: &&EmbeddingFile| spec.prompt.split_whitespace().any(|word| word == file.word);
    let embeddings: Vec<EmbeddingUse> = job
        .embeddings
        .iter()
        .filter(named)
        .map(|EmbeddingFile { word, hash, .. }| EmbeddingUse { word: word.clone(), hash: hash.clone() })
        .collect();
    hasher.update(format!("{embeddings:?}"));
    Ok((hasher.finalize().into(), embeddings))
}

/// Whether an adapter changes nothing: its file says so at its end.
fn is_inert(file: &AdapterFile) -> bool {
    std::fs::read(&file.path).is_ok_and(|bytes| bytes.ends_with(b"nothing"))
}

impl Backend for FakeBackend {
    fn info(&self) -> ModelInfo {
        ModelInfo {
            safety_checker: false,
            vae: None,
            name: "fake".to_owned(),
            hash: if self.other_model { "07e4" } else { "fa4e" }.repeat(16),
            device: "cpu".to_owned(),
            dtype: "f32".to_owned(),
            native_size: 64,
            prompt_tokens: 75,
            defaults: Defaults {
                steps: 4,
                guidance: 5.0,
                width: 64,
                height: 64,
                sampling: Sampling::default(),
            },
            limits: Limits::default(),
            example_prompts: vec![ExamplePrompt { prompt: "red moons on white".to_owned() }],
        }
    }

    /// A word is a token, or as many as an embedding has vectors.
    fn token_counter(&self) -> TokenCounter {
        Arc::new(|prompt, words| {
            let size =
                |word: &str| words.iter().find(|(known, _)| known == word).map_or(1, |(_, size)| *size);
            let tokens: u32 = prompt.split_whitespace().map(size).sum();
            let chunks = tokens.div_ceil(75).max(1);
            Ok(TokenCount { tokens, capacity: 75 * chunks, chunks, most_chunks: 16 })
        })
    }

    /// A file's text may end with them: `bundles:WORD:VECTORS`.
    fn bundled_words(&self) -> BundledWords {
        Arc::new(|path| {
            let text = fs::read(path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let Some((_, bundled)) = text.split_once("bundles:") else { return Vec::new() };
            let word =
                bundled.trim().split_once(':').and_then(|(word, n)| Some((word.to_owned(), n.parse().ok()?)));
            word.into_iter().collect()
        })
    }

    /// A file is text, `embedding:WORD:VECTORS`.
    fn embedding_reader(&self) -> EmbeddingReader {
        Arc::new(|_, content, named| {
            let text = String::from_utf8_lossy(content);
            let own = text.strip_prefix("embedding:").and_then(|rest| rest.trim().split_once(':'));
            let expected = || EmbeddingFault::File("The file is not “embedding:WORD:VECTORS”.".to_owned());
            let (word, vectors) = own.ok_or_else(expected)?;
            let vectors = vectors.parse().map_err(|_| expected())?;
            let word = named.unwrap_or(word);
            if word.is_empty() || word.contains(':') {
                return Err(EmbeddingFault::Word("The word must not be empty or have a colon.".to_owned()));
            }
            Ok(EmbeddingFacts { word: word.to_owned(), vectors, width: 768 })
        })
    }

    fn check_adapter(&mut self, path: &Path) -> Result<AdapterReceipt, BackendError> {
        let bytes =
            fs::read(path).map_err(|error| BackendError::Failed(format!("{}: {error}", path.display())))?;
        if self.other_model {
            return Err(BackendError::Failed("It was made for another model.".to_owned()));
        }
        if bytes.starts_with(ADAPTER_MAGIC) {
            let layer = AdapterLayer {
                component: "unet".to_owned(),
                module: "down_blocks.0.attentions.0.to_q".to_owned(),
                kind: "lora".to_owned(),
                rank: 4,
                alpha: 4.0,
                scale: 1.0,
                ratio: 0.125,
            };
            // A file says so itself when something of it is to be left out.
            let in_part = bytes.windows(7).any(|word| word == b"in part");
            let left_out = LeftOut {
                sort: "with unknown names".to_owned(),
                tensors: u32::from(in_part),
                examples: vec!["x.y".to_owned()],
            };
            return Ok(AdapterReceipt {
                warning: LeftOut::sentence(std::slice::from_ref(&left_out), 3),
                left_out: if in_part { vec![left_out] } else { Vec::new() },
                formats: vec!["fake".to_owned()],
                family: "the fake model".to_owned(),
                applied: vec![layer],
                ..AdapterReceipt::default()
            });
        }
        let expected = String::from_utf8_lossy(ADAPTER_MAGIC);
        Err(BackendError::Failed(format!("{} does not begin with “{expected}”.", path.display())))
    }

    fn pin(&mut self, hashes: Vec<String>) {
        self.note(format!("pin {}", hashes.join(" ")));
    }

    fn render(
        &mut self,
        job: &RenderRequest,
        on_step: &mut dyn FnMut(RenderStep) -> ControlFlow<()>,
    ) -> Result<Rendered, BackendError> {
        let mut made = Err(BackendError::Cancelled);
        self.pictures(std::slice::from_ref(job), &mut |_, update| match update {
            ImageUpdate::Begun { .. } => ControlFlow::Continue(()),
            ImageUpdate::Step(step) => on_step(step),
            ImageUpdate::Ended(end) => {
                made = end;
                ControlFlow::Continue(())
            }
        });
        made
    }

    fn batch(&self) -> usize {
        self.batch.max(1)
    }

    fn render_batch(
        &mut self,
        jobs: &[RenderRequest],
        on_update: &mut dyn FnMut(usize, ImageUpdate) -> ControlFlow<()>,
    ) -> Result<(), BackendError> {
        self.note(format!("batch of {}", jobs.len()));
        self.pictures(jobs, on_update);
        Ok(())
    }

    fn begin_training(&mut self, task: TrainingTask) -> Result<(), BackendError> {
        self.run = Some(FakeRun::new(task));
        Ok(())
    }

    fn advance_training(&mut self, interrupted: &dyn Fn() -> bool) -> Result<UnitOutcome, BackendError> {
        thread::sleep(self.unit_delay);
        if let Some(latch) = &self.unit_latch {
            // An error says that the latch was dropped: the way is free.
            let _ = latch.lock().unwrap_or_else(PoisonError::into_inner).recv();
        }
        let run =
            self.run.as_mut().ok_or_else(|| BackendError::Failed("No training was begun.".to_owned()))?;
        let update = run.advance(interrupted)?;
        self.note(training::word(&update));
        Ok(update)
    }

    fn save_training(&mut self) -> Result<(), BackendError> {
        self.run.as_ref().map_or(Ok(()), FakeRun::save)
    }

    fn end_training(&mut self) {
        self.run = None;
    }

    fn judge(&mut self) -> Result<JudgeInfo, BackendError> {
        if self.without_judge {
            return Err(BackendError::Failed("There is no judge. Run `adire models pull`.".to_owned()));
        }
        Ok(judge::info())
    }

    fn features(&mut self, request: &FeatureRequest) -> Result<FeatureSet, BackendError> {
        self.note("features");
        Ok(judge::features(request))
    }

    fn metrics(&self) -> Vec<MetricInfo> {
        judge::metrics()
    }

    fn measure(&mut self, request: &MeasureRequest) -> Result<Measurements, BackendError> {
        self.note("measure");
        Ok(judge::measure(request))
    }

    /// The last of every five.
    fn held_out(&self, repeats: &[u32], _: &TrainingConfig) -> Vec<usize> {
        (0..repeats.len()).filter(|at| at % 5 == 4).collect()
    }
}

/// A board of 8 × 8 squares in colours taken from `seed`, brighter towards the right.
fn squares(seed: &[u8; 32], width: u32, height: u32) -> Pixels {
    let mut rgb = Vec::with_capacity(3 * width as usize * height as usize);
    for y in 0..height {
        for x in 0..width {
            let (column, row) = ((8 * x / width) as usize, (8 * y / height) as usize);
            let shade = (63 * x / width) as u8;
            rgb.extend((0..3).map(|channel| (seed[(column * 5 + row * 11 + channel) % 32] & 0xc0) | shade));
        }
    }
    Pixels { width, height, rgb }
}
