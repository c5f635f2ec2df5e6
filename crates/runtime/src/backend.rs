//! The engine as the studio's backend: adapter files become resident adapters, a job becomes an image.

use std::{collections::HashMap, ops::ControlFlow, path::Path, sync::Arc, time::Instant};

use adire_engine::{
    Embedding, EngineError, LoadOptions, Output, Pipeline, StepReport, Words,
    adapter::{Adapter, AdapterPool, Receipt, Strength},
    train::held_out_positions,
};
use adire_protocol::{AdapterReceipt, MetricInfo, ModelInfo, TrainingConfig, lora_tag};
use adire_studio::{
    AdapterFile, Backend, BackendError, BundledWords, EmbeddingFacts, EmbeddingFault, EmbeddingReader,
    FeatureRequest, FeatureSet, ImageUpdate, JudgeInfo, MeasureRequest, Measurements, MemoryGauge,
    RenderRequest, RenderStep, Rendered, TokenCounter, TrainingTask, UnitOutcome,
};

use crate::{
    error::backend_error,
    init_image::{PreparedInit, pixels},
    judge::{JudgeFolder, JudgeParts, JudgeSlot},
    measure,
    receipt::{embedding_uses, receipt},
    training::TrainingDriver,
};

/// Bytes of adapters that stay in memory; a rank-16 adapter of SD 1.5 in f16 has about 13 MB.
const RESIDENT: usize = 1 << 30;

/// Images that a GPU computes together unless another number is set. On the CPU a batch saves little.
const GPU_BATCH: usize = 4;

/// A loaded model with the adapters that were used last.
pub struct EngineBackend {
    pub(crate) pipeline: Pipeline,
    pool: AdapterPool,
    /// The embeddings that have been used, by the hashes of their files; a few kilobytes each.
    embeddings: HashMap<String, Arc<Embedding>>,
    driver: Option<TrainingDriver>,
    max_strength: f64,
    batch: Option<usize>,
    /// Most images of a batch by their size, where more did not fit into memory.
    pub(crate) fits: HashMap<(u32, u32), usize>,
    judge: JudgeSlot,
}

/// What an image begins with: adapters and embeddings in effect.
#[derive(Clone)]
pub(crate) struct Prepared {
    /// What applied only in part.
    pub(crate) warnings: Vec<String>,
    pub(crate) switch_seconds: f64,
}

impl Prepared {
    /// An image, made with the weights that `fingerprint` names.
    pub(crate) fn rendered(self, output: Output, fingerprint: String) -> Rendered {
        let Self { warnings, switch_seconds } = self;
        Rendered {
            pixels: pixels(output.image),
            withheld: output.withheld,
            fingerprint,
            seconds: switch_seconds + output.seconds,
            switch_seconds,
            switched: false,
            embeddings: embedding_uses(output.embeddings),
            warnings,
        }
    }
}

impl EngineBackend {
    /// Loads the model at `path`.
    ///
    /// # Errors
    /// A sentence: which file is missing or damaged, and what to do.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self, BackendError> {
        let pipeline = Pipeline::load(path, options).map_err(|error| backend_error(&error))?;
        let max_strength = pipeline.info().limits.strength;
        Ok(Self {
            pipeline,
            pool: AdapterPool::new(RESIDENT),
            embeddings: HashMap::new(),
            driver: None,
            max_strength,
            batch: None,
            fits: HashMap::new(),
            judge: JudgeSlot::of_model(path, &options.device),
        })
    }

    /// With another judge than the model's own, if one is given, and with what takes over features of it.
    pub fn with_judge(self, folder: Option<JudgeFolder>, parts: JudgeParts) -> Self {
        let judge = self.judge.with_parts(parts);
        let judge = match folder {
            Some(folder) => judge.moved_to(folder),
            None => judge,
        };
        Self { judge, ..self }
    }

    /// With the largest adapter strength that requests may name, either sign.
    pub fn with_max_strength(self, max_strength: f64) -> Self {
        Self { max_strength, ..self }
    }

    /// With a number of images at most that are computed together, instead of the device's default.
    pub fn with_batch(self, batch: Option<usize>) -> Self {
        Self { batch, ..self }
    }

    /// Switches to the adapters and embeddings of the jobs; the others' adapters are those of the first.
    pub(crate) fn prepare(
        &mut self,
        job: &RenderRequest,
        others: &[RenderRequest],
    ) -> Result<Prepared, BackendError> {
        let begun = Instant::now();
        let mut adapters = Vec::with_capacity(job.adapters.len());
        for file in &job.adapters {
            let strength = Strength { unet: file.strength, text_encoder: file.te_strength };
            adapters.push((resident(&mut self.pool, file)?, strength));
        }
        self.set_embeddings(job, others)?;
        let receipts = self.pipeline.set_adapters(&adapters).map_err(|error| backend_error(&error))?;
        let warning = |(file, receipt): (&AdapterFile, &Receipt)| {
            receipt.warning().map(|warning| format!("{}: {warning}", file.id))
        };
        let warnings: Vec<String> = job.adapters.iter().zip(&receipts).filter_map(warning).collect();
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        Ok(Prepared { warnings, switch_seconds: begun.elapsed().as_secs_f64() })
    }

    /// Names the weights in effect.
    pub(crate) fn fingerprint(&self) -> Result<String, BackendError> {
        let found = self.pipeline.fingerprint().map_err(|error| backend_error(&error))?;
        Ok(found.unwrap_or_default().to_owned())
    }

    /// Lets the embeddings that prompts of the jobs name take effect; all of them know those of the first.
    fn set_embeddings(&mut self, job: &RenderRequest, others: &[RenderRequest]) -> Result<(), BackendError> {
        let tokenizer = Arc::clone(self.pipeline.tokenizer());
        let words = job.embeddings.iter().map(|file| (file.word.as_str(), file.vectors as usize));
        let prompts_of = |job: &RenderRequest| {
            [job.spec.negative_prompt.clone(), lora_tag::without(&job.spec.prompt).into_owned()]
        };
        let prompts: Vec<String> = [job].into_iter().chain(others).flat_map(prompts_of).collect();
        let used = Words::new(&tokenizer, words).and_then(|words| words.used(&tokenizer, &prompts));
        let mut named = Vec::new();
        for place in used.map_err(|error| backend_error(&error))? {
            let Some(file) = job.embeddings.get(place) else { continue };
            let embedding = match self.embeddings.get(&file.hash) {
                Some(known) => Arc::clone(known),
                None => {
                    let read = Embedding::read(&file.path).map_err(|error| match error {
                        EngineError::Adapter { message, .. } => {
                            BackendError::Failed(format!("The file of the embedding {} {message}", file.word))
                        }
                        error => backend_error(&error),
                    })?;
                    if read.hash() != file.hash {
                        let message = format!(
                            "The file of the embedding {} has changed since it was added (its hash differs). Remove it and add it again.",
                            file.word
                        );
                        return Err(BackendError::Failed(message));
                    }
                    let read = Arc::new(read);
                    self.embeddings.insert(file.hash.clone(), Arc::clone(&read));
                    read
                }
            };
            named.push((file.word.clone(), embedding));
        }
        self.pipeline.set_embeddings(named).map_err(|error| backend_error(&error))
    }
}

impl Backend for EngineBackend {
    fn info(&self) -> ModelInfo {
        let mut info = self.pipeline.info().clone();
        info.limits.strength = self.max_strength;
        info
    }

    fn token_counter(&self) -> TokenCounter {
        let tokenizer = Arc::clone(self.pipeline.tokenizer());
        Arc::new(move |prompt, words| {
            let words = words.iter().map(|(word, vectors)| (word.as_str(), *vectors as usize));
            let count = Words::new(&tokenizer, words).and_then(|words| tokenizer.count(prompt, &words));
            count.map_err(|error| backend_error(&error))
        })
    }

    fn bundled_words(&self) -> BundledWords {
        Arc::new(|path| adire_engine::adapter::bundled_words(path).unwrap_or_default())
    }

    fn embedding_reader(&self) -> EmbeddingReader {
        let width = self.pipeline.text_width();
        Arc::new(move |name, content, word| {
            let embedding = Embedding::from_bytes(name, content).map_err(|error| match error {
                EngineError::Adapter { message, .. } => EmbeddingFault::File(format!("The file {message}")),
                other => EmbeddingFault::File(other.to_string()),
            })?;
            if embedding.width() != width {
                return Err(EmbeddingFault::File(format!(
                    "The file has vectors of {} numbers, but the model's text encoder needs {width}: it was made for another model.",
                    embedding.width()
                )));
            }
            let word = embedding
                .called(word)
                .map_err(|message| EmbeddingFault::Word(format!("The {message}. Enter another word.")))?;
            let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            Ok(EmbeddingFacts { word, vectors: count(embedding.vectors()), width: count(width) })
        })
    }

    fn memory_gauge(&self) -> MemoryGauge {
        let (device, gpu) = (self.pipeline.device().clone(), self.pipeline.gpu().cloned());
        Arc::new(move || match &gpu {
            Some(gpu) => gpu.memory(),
            None => adire_engine::device_memory(&device),
        })
    }

    fn check_adapter(&mut self, path: &Path) -> Result<AdapterReceipt, BackendError> {
        // The next image sets its own adapters, so nothing has to be put back.
        let tried = Adapter::read(path)
            .and_then(|adapter| self.pipeline.set_adapters(&[(Arc::new(adapter), Strength::from(1.0))]));
        let receipt = tried.map(|receipts| receipts.into_iter().next().map(receipt).unwrap_or_default());
        if let Ok(AdapterReceipt { warning: Some(warning), .. }) = &receipt {
            tracing::warn!(path = %path.display(), "{warning}");
        }
        receipt.map_err(|error| {
            match error {
                // The path is a temporary one and says nothing to people.
                EngineError::Adapter { message, .. } => BackendError::Failed(format!("The file {message}")),
                error => backend_error(&error),
            }
        })
    }

    fn pin(&mut self, hashes: Vec<String>) {
        self.pool.pin(hashes);
    }

    fn render(
        &mut self,
        job: &RenderRequest,
        on_step: &mut dyn FnMut(RenderStep) -> ControlFlow<()>,
    ) -> Result<Rendered, BackendError> {
        let (width, height) = (job.spec.width, job.spec.height);
        let init = job.init.as_ref().map(|files| PreparedInit::read(files, width, height)).transpose();
        let init = init.map_err(|error| BackendError::Failed(error.to_string()))?;
        let prepared = self.prepare(job, &[])?;
        let checked = self.pipeline.info().safety_checker;
        let output = self
            .pipeline
            .generate_from(&job.spec, init.as_ref().map(PreparedInit::as_init_image), &mut |step| {
                on_step(shown(step, checked))
            })
            .map_err(|error| backend_error(&error))?;
        Ok(prepared.rendered(output, self.fingerprint()?))
    }

    fn batch(&self) -> usize {
        let of_device = if self.pipeline.gpu().is_some() { GPU_BATCH } else { 1 };
        self.batch.unwrap_or(of_device).max(1)
    }

    fn render_batch(
        &mut self,
        jobs: &[RenderRequest],
        on_update: &mut dyn FnMut(usize, ImageUpdate) -> ControlFlow<()>,
    ) -> Result<(), BackendError> {
        self.render_together(jobs, on_update)
    }

    fn begin_training(&mut self, task: TrainingTask) -> Result<(), BackendError> {
        self.driver = None;
        self.driver = Some(TrainingDriver::new(&self.pipeline, task).map_err(|error| backend_error(&error))?);
        Ok(())
    }

    fn advance_training(&mut self, interrupted: &dyn Fn() -> bool) -> Result<UnitOutcome, BackendError> {
        // Put back only when all went well: what a panic or an error leaves half made is dropped.
        let none = || BackendError::Failed("No training run is active.".to_owned());
        let mut driver = self.driver.take().ok_or_else(none)?;
        let update =
            driver.advance(&mut self.pipeline, interrupted).map_err(|error| backend_error(&error))?;
        self.driver = Some(driver);
        Ok(update)
    }

    fn save_training(&mut self) -> Result<(), BackendError> {
        self.driver.as_ref().map_or(Ok(()), TrainingDriver::save).map_err(|error| backend_error(&error))
    }

    fn end_training(&mut self) {
        self.driver = None;
    }

    fn judge(&mut self) -> Result<JudgeInfo, BackendError> {
        self.judge.info()
    }

    fn features(&mut self, request: &FeatureRequest) -> Result<FeatureSet, BackendError> {
        self.judge.features(request)
    }

    fn metrics(&self) -> Vec<MetricInfo> {
        measure::metrics()
    }

    fn measure(&mut self, request: &MeasureRequest) -> Result<Measurements, BackendError> {
        measure::measure(request)
    }

    fn held_out(&self, repeats: &[u32], config: &TrainingConfig) -> Vec<usize> {
        let sources = repeats.iter().map(|count| *count as usize).sum();
        let apart = held_out_positions(sources, config);
        let mut first = 0;
        let mut whole = Vec::new();
        for (at, count) in repeats.iter().enumerate() {
            let next = first + *count as usize;
            if *count > 0 && (first..next).all(|position| apart.contains(&position)) {
                whole.push(at);
            }
            first = next;
        }
        whole
    }
}

/// A step as the studio gets it. What may have to be withheld is not shown on the way either.
pub(crate) fn shown(step: StepReport, checked: bool) -> RenderStep {
    let preview = (!checked).then(|| pixels(step.preview));
    RenderStep { step: step.step, steps: step.steps, preview }
}

/// The adapter of `file`, from memory if it is there.
fn resident(pool: &mut AdapterPool, file: &AdapterFile) -> Result<Arc<Adapter>, BackendError> {
    let adapter = pool.get(&file.hash, &file.path).map_err(|error| match error {
        EngineError::Adapter { message, .. } => {
            BackendError::Failed(format!("The file of {} {message}", file.id))
        }
        error => backend_error(&error),
    })?;
    if adapter.hash() != file.hash {
        let message = format!(
            "The file of {} has changed since it was added (its hash differs). Add it again.",
            file.id
        );
        return Err(BackendError::Failed(message));
    }
    Ok(adapter)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use adire_protocol::GenerationRequest;
    use adire_studio::InitFiles;

    use super::*;

    fn golden(name: &str) -> PathBuf {
        // Absolute: the program runs in a folder of its own.
        std::path::absolute(Path::new("../engine/tests/goldens").join(name)).unwrap()
    }

    fn job(backend: &EngineBackend, adapters: Vec<AdapterFile>) -> RenderRequest {
        let info = backend.info();
        let request = GenerationRequest {
            prompt: "red flower".to_owned(),
            steps: Some(2),
            width: Some(64),
            height: Some(64),
            ..Default::default()
        };
        RenderRequest {
            spec: request.validate(&info.limits, &info.defaults, 3).unwrap(),
            adapters,
            embeddings: Vec::new(),
            init: None,
        }
    }

    fn render(backend: &mut EngineBackend, adapters: &[AdapterFile]) -> Result<Vec<u8>, BackendError> {
        let job = job(backend, adapters.to_vec());
        let mut steps = 0;
        let rendered = backend.render(&job, &mut |step| {
            steps += 1;
            assert_eq!((step.step, step.steps), (steps, 2));
            assert!(step.preview.is_some());
            ControlFlow::Continue(())
        })?;
        assert_eq!((rendered.pixels.width, rendered.pixels.height), (64, 64));
        Ok(rendered.pixels.rgb)
    }

    #[test]
    fn switches_are_exact_and_resident_adapters_read_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut backend = EngineBackend::load(&golden("pipeline"), &LoadOptions::default()).unwrap();
        let files: Vec<AdapterFile> = ["kohya", "diffusers"]
            .into_iter()
            .map(|name| {
                let path = folder.path().join(name);
                std::fs::copy(golden("adapters").join(format!("{name}.safetensors")), &path).unwrap();
                let hash = adire_engine::file_hash(&path).unwrap();
                AdapterFile {
                    id: format!("{name}@v1"),
                    hash,
                    path: path.into(),
                    strength: 1.0,
                    te_strength: 1.0,
                }
            })
            .collect();
        let plain = render(&mut backend, &[]).unwrap();
        let first = render(&mut backend, &files[..1]).unwrap();
        let second = render(&mut backend, &files[1..]).unwrap();
        assert!(plain != first && first != second && second != plain);
        for file in &files {
            std::fs::remove_file(&file.path).unwrap();
        }
        assert_eq!(render(&mut backend, &files[..1]).unwrap(), first);
        assert_ne!(render(&mut backend, &files).unwrap(), first);
        let unet_alone = AdapterFile { te_strength: 0.0, ..files[0].clone() };
        let image = render(&mut backend, &[unet_alone]).unwrap();
        assert!(image != first && image != plain);
        assert_eq!(render(&mut backend, &[]).unwrap(), plain);
    }

    #[test]
    fn an_image_and_its_mask_are_read_and_brought_to_size() {
        let folder = tempfile::tempdir().unwrap();
        let mut backend = EngineBackend::load(&golden("pipeline"), &LoadOptions::default()).unwrap();
        let mut job = job(&backend, Vec::new());
        // Twice as wide as requested, its middle half green; the mask leaves the upper half as it is.
        let middle = |x: u32| (32..96).contains(&x);
        let colour =
            |x: u32, _: u32| if middle(x) { image::Rgb([20, 160, 40]) } else { image::Rgb([200, 0, 0]) };
        let files =
            InitFiles { image: folder.path().join("a").into(), mask: Some(folder.path().join("b").into()) };
        let write = |path: &Path, image: image::RgbImage| {
            image.save_with_format(path, image::ImageFormat::Png).unwrap();
        };
        write(&files.image, image::RgbImage::from_fn(128, 64, colour));
        let white_below = |_, y| if y < 1 { image::Rgb([0; 3]) } else { image::Rgb([255; 3]) };
        write(files.mask.as_ref().unwrap(), image::RgbImage::from_fn(2, 2, white_below));
        job.init = Some(files);
        (job.spec.init_image, job.spec.mask) = (Some("0".repeat(64)), Some("1".repeat(64)));
        (job.spec.denoising_strength, job.spec.keep_unmasked) = (Some(1.0), Some(true));
        let rendered = backend.render(&job, &mut |_| ControlFlow::Continue(())).unwrap();
        let (upper, lower) = rendered.pixels.rgb.split_at(3 * 64 * 32);
        let green = |rgb: &[u8]| rgb.chunks_exact(3).filter(|pixel| *pixel == [20, 160, 40]).count();
        // All of the upper half but the edges, where the filter sees red.
        assert!(green(upper) >= 60 * 32, "{}", green(upper));
        assert!(green(lower) < 64, "{}", green(lower));

        std::fs::write(&job.init.as_ref().unwrap().image, "no picture").unwrap();
        let error = backend.render(&job, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
        assert!(error.contains("PNG, JPEG or WebP"), "{error}");
    }

    #[test]
    fn a_break_cancels() {
        let mut backend = EngineBackend::load(&golden("pipeline"), &LoadOptions::default()).unwrap();
        let job = job(&backend, Vec::new());
        let result = backend.render(&job, &mut |_| ControlFlow::Break(()));
        assert_eq!(result, Err(BackendError::Cancelled));
    }

    #[test]
    fn unusable_files_are_reported_in_sentences() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some");
        let mut backend = EngineBackend::load(&golden("pipeline"), &LoadOptions::default()).unwrap();
        let mut message = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            backend.check_adapter(&path).unwrap_err().to_string()
        };
        assert!(message(b"PK\x03\x04zip").starts_with("The file is a pickle"));
        let good = std::fs::read(golden("adapters/kohya.safetensors")).unwrap();
        assert!(message(&good[..good.len() / 2]).starts_with("The file is truncated"));
        let sdxl = std::fs::read(golden("adapters/sdxl-kohya.safetensors")).unwrap();
        assert!(message(&sdxl).contains("made for SDXL"));
        std::fs::write(&path, &good).unwrap();
        let receipt = backend.check_adapter(&path).unwrap();
        assert_eq!((receipt.formats, receipt.skipped.len()), (vec!["kohya".to_owned()], 0));
        assert!(receipt.applied.iter().all(|layer| layer.ratio > 0.0 && layer.rank > 0));

        let (id, hash) = ("a@v1".to_owned(), "0".repeat(64));
        let file = AdapterFile { id, hash, path: path.into(), strength: 1.0, te_strength: 1.0 };
        let error = render(&mut backend, &[file]).unwrap_err().to_string();
        assert!(error.contains("a@v1") && error.contains("has changed since it was added"), "{error}");
        let error = EngineBackend::load(folder.path(), &LoadOptions::default())
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.ends_with('.'), "{error}");
    }

    #[test]
    fn an_embedding_is_read_if_it_has_the_models_width() {
        let backend = EngineBackend::load(&golden("pipeline"), &LoadOptions::default()).unwrap();
        let (reader, width) = (backend.embedding_reader(), backend.pipeline.text_width());
        // Two vectors of zeros, as safetensors has them: the length of the header, the header, the numbers.
        let file = |width: usize| {
            let bytes = 2 * 4 * width;
            let tensor =
                format!(r#""emb_params":{{"dtype":"F32","shape":[2,{width}],"data_offsets":[0,{bytes}]}}"#);
            let header = format!("{{{tensor}}}");
            [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; bytes]].concat()
        };
        let read = |content: &[u8], word| reader(Path::new("my-word.safetensors"), content, word);
        let facts = |word: &str| EmbeddingFacts {
            word: word.to_owned(),
            vectors: 2,
            width: width.try_into().unwrap(),
        };
        assert_eq!(read(&file(width), None), Ok(facts("my-word")));
        assert_eq!(read(&file(width), Some(" other ")), Ok(facts("other")));
        assert!(
            matches!(read(&file(width), Some("a:b")), Err(EmbeddingFault::Word(text)) if text.ends_with('.'))
        );
        for (content, words) in
            [(file(width + 1), "made for another model."), (b"PK\x03\x04".to_vec(), "The file is a pickle")]
        {
            let refused = read(&content, None);
            assert!(
                matches!(&refused, Err(EmbeddingFault::File(text)) if text.contains(words)),
                "{refused:?}"
            );
        }
    }
}
