//! `adire train`: an adapter from a folder of images.

mod begun;
mod log;
mod progress;
mod samples;
mod settings;

use std::path::{Path, PathBuf};

use adire_engine::{Pipeline, adapter::Adapter};
use adire_protocol::{RESERVED_NAME, TrainingConfig};
use adire_runtime::{CHECKPOINT, TrainingDriver};
use adire_studio::{
    AdapterFile, Dataset, KnownResults, TrainingImage, TrainingTask, UnitOutcome, read_dataset,
    sample_prompts,
};
use anyhow::{Context, bail};
use clap::Args;

use self::{
    begun::Begun,
    log::{Line, Log},
    progress::Progress,
    samples::Samples,
    settings::SettingArgs,
};
use crate::commands::{model_args, print};

/// Arguments of `adire train`.
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    model: model_args::ModelArgs,
    /// Folder with the images (PNG, JPEG, WebP); captions from metadata.jsonl or .csv, a.txt beside a.png, or folders
    /// named 10_words. In a kohya project, img holds the images to train on and reg the class images
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Name of the adapter: letters, digits, - and _
    #[arg(long)]
    name: String,
    /// Output folder; an interrupted run resumes from it [default: the name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Adapter file to start from; it must have been trained with the same rank, alpha and targets
    #[arg(long, value_name = "FILE")]
    continue_from: Option<PathBuf>,
    /// Default caption of images without one, for example "a photo in nigerian_adire_style"
    #[arg(long, default_value = "", value_name = "TEXT")]
    prompt: String,
    /// Trigger word, prepended to captions that lack it
    #[arg(long, default_value = "", value_name = "WORD")]
    trigger: String,
    /// Folder with class images, for prior preservation
    #[arg(long, value_name = "DIR", requires = "class_prompt")]
    class_data: Option<PathBuf>,
    /// Class prompt, for example "a cloth": caption of the class images, and prompt that missing ones are generated from
    #[arg(long, value_name = "TEXT")]
    class_prompt: Option<String>,
    #[command(flatten)]
    settings: SettingArgs,
}

impl TrainArgs {
    /// Trains and writes.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(fits) {
            bail!("the name {:?} is invalid; use up to 64 letters, digits, - and _", self.name);
        }
        if self.name == RESERVED_NAME {
            bail!("“{RESERVED_NAME}” is reserved for checkpoints; choose another name");
        }
        // All validation that needs no model comes before loading one.
        let mut config = self.settings.read()?;
        let dataset = read_dataset(&self.data, &self.prompt, &self.trigger)?;
        let classes = match &self.class_data {
            Some(folder) => read_dataset(folder, self.class_prompt.as_deref().unwrap_or_default(), "")?,
            None => Dataset::default(),
        };
        let classes = if self.class_data.is_none() && !dataset.classes.is_empty() {
            let count = dataset.classes.len();
            eprintln!("Using {count} class images from the same folder for prior preservation.");
            self.classes_of(&dataset)
        } else {
            classes
        };
        for warning in dataset.warnings.iter().chain(&classes.warnings) {
            eprintln!("{}: {}", warning.name, warning.message);
        }
        if config.sample_prompts.is_empty() && config.sampled_every() > 0 {
            let texts = dataset.images.iter().map(|image| image.caption.as_str());
            config.sample_prompts = sample_prompts(texts, &self.trigger);
        }
        let continue_from = self.continue_from.as_deref().map(parent).transpose()?;
        let model_args::FoundModel { path, options, .. } = self.model.find()?.warn();
        let mut pipeline = Pipeline::load(&path, &options)?;
        if !self.settings.sized() {
            config = config.sized_for(pipeline.info().defaults.width);
        }
        if let Some(problem) = config.problems().into_iter().next() {
            bail!("{}", problem.message);
        }
        match (&self.class_prompt, config.class_images) {
            (None, 1..) => bail!("--class-images needs --class-prompt, the prompt to generate them from"),
            (Some(_), 0) if classes.images.is_empty() => {
                bail!("--class-prompt needs class images: pass --class-data or --class-images")
            }
            _ => {}
        }
        let out = self.out.clone().unwrap_or_else(|| PathBuf::from(&self.name));
        let samples = Samples::open(&out, continue_from.is_some())?;
        let run =
            Run { args: &self, dataset: &dataset, classes: &classes, continue_from, out: &out, samples };
        let written = run.go(&mut pipeline, config)?;
        for path in written {
            print(path.display())?;
        }
        Ok(())
    }
}

impl TrainArgs {
    /// The class images that lie in the dataset's own folder.
    fn classes_of(&self, dataset: &Dataset) -> Dataset {
        let mut images = dataset.classes.clone();
        for image in images.iter_mut().filter(|image| image.caption.is_empty()) {
            image.caption = self.class_prompt.clone().unwrap_or_default();
        }
        Dataset { images, ..Dataset::default() }
    }
}

/// The adapter file that a run starts from.
///
/// # Errors
/// It is not an adapter.
fn parent(file: &Path) -> anyhow::Result<AdapterFile> {
    let hash = Adapter::read(file)?.hash().to_owned();
    let id = file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    Ok(AdapterFile { id, hash, path: file.to_owned().into(), strength: 1.0, te_strength: 1.0 })
}

/// Context of one training run.
struct Run<'a> {
    args: &'a TrainArgs,
    dataset: &'a Dataset,
    classes: &'a Dataset,
    continue_from: Option<AdapterFile>,
    out: &'a Path,
    samples: Samples,
}

impl Run<'_> {
    fn go(&self, pipeline: &mut Pipeline, config: TrainingConfig) -> anyhow::Result<Vec<PathBuf>> {
        let checkpoint = self.out.join(CHECKPOINT);
        let path = self.out.join("training.jsonl");
        // Without a checkpoint, the log belongs to another run.
        let resumes = checkpoint.is_file();
        let args = self.args;
        let class_prompt = args.class_prompt.as_deref().unwrap_or_default();
        let mut others =
            vec![("name", &*args.name), ("trigger", &args.trigger), ("class_prompt", class_prompt)];
        others.extend(self.continue_from.as_ref().map(|parent| ("continue_from", &*parent.hash)));
        let begun = Begun::new(&config, pipeline.info(), &others, self.dataset, self.classes)?;
        match resumes {
            true => begun.check(self.out)?,
            false => begun.keep(self.out)?,
        }
        let task = self.task(config, resumes, log::held_out(&path));
        let mut log = None;
        let mut progress = Progress::new(&task.config);
        let mut driver = TrainingDriver::new(pipeline, task)?;
        loop {
            let update = driver.advance(pipeline, &|| false);
            let update = if log.is_none() && resumes {
                update.with_context(|| {
                    let shown = checkpoint.display();
                    format!("{shown} belongs to another run; choose another folder with --out")
                })?
            } else {
                update?
            };
            if let UnitOutcome::Ready { step, .. } | UnitOutcome::Rewound { step } = update {
                log = Some(Log::open(&path, (resumes || step > 0 || log.is_some()).then_some(step))?);
            }
            let seconds = progress.show(&update);
            if let UnitOutcome::Ready { .. } = update {
                for warning in driver.warnings() {
                    eprintln!("Warning: {warning}");
                }
            }
            let Some(log) = &mut log else { continue };
            match update {
                UnitOutcome::Updated(point) => log.write(&Line::update(&point, seconds))?,
                UnitOutcome::HeldOut { step, loss } => log.write(&Line::held_out(step, loss))?,
                UnitOutcome::Sample { step, prompt_index, with_adapter, pixels } => {
                    self.samples.keep(step, prompt_index, with_adapter, &pixels)?;
                }
                UnitOutcome::Finished { .. } => break,
                _ => {}
            }
        }
        progress.end();
        Ok(driver.written().to_vec())
    }

    fn task(&self, config: TrainingConfig, resumes: bool, held_out: Vec<(u32, f64)>) -> TrainingTask {
        let images = |dataset: &Dataset| {
            let training_image = |image: &adire_studio::DatasetImage| TrainingImage {
                name: image.name.clone(),
                path: image.path.clone().into(),
                caption: image.caption.clone(),
                repeats: image.repeats,
            };
            dataset.images.iter().map(training_image).collect::<Vec<_>>()
        };
        let known = if resumes {
            KnownResults { held_out, samples: self.samples.known(), forecast: true }
        } else {
            KnownResults::default()
        };
        TrainingTask {
            name: self.args.name.clone(),
            trigger: self.args.trigger.clone(),
            dataset_hash: self.dataset.hash.clone(),
            images: images(self.dataset),
            classes: images(self.classes),
            class_prompt: self.args.class_prompt.clone().unwrap_or_default(),
            continue_from: self.continue_from.clone(),
            folder: self.out.to_owned(),
            known,
            config,
        }
    }
}
