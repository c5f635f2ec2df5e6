//! `adire train`: an adapter from a folder of pictures.

mod card;
mod log;
mod settings;

use std::{
    fs,
    io::Write,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Instant,
};

use adire_engine::{
    Pipeline,
    adapter::{Adapter, ExportFormat, ModuleTable},
    train::{Source, Trainer},
};
use adire_protocol::{GenerationRequest, GenerationSpec, TrainingConfig};
use adire_studio::{Dataset, decode_picture, read_dataset};
use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use self::{
    card::Outcome,
    log::{Line, Log},
    settings::SettingArgs,
};
use crate::{backend::pixels, commands::places};

/// What to train on, and where the result goes.
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    model: places::ModelArgs,
    /// Folder with the pictures (PNG, JPEG, WebP); captions from metadata.jsonl, a.txt beside a.png, or folders named
    /// 10_words
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Name of the adapter: letters, digits, - and _
    #[arg(long)]
    name: String,
    /// Folder that everything is written to; the name when left out. A run that was interrupted goes on from there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Caption of pictures that have none of their own, for example "a photo in nigerian_adire_style"
    #[arg(long, default_value = "", value_name = "TEXT")]
    prompt: String,
    /// Word that calls the style up; put in front of captions that do not contain it
    #[arg(long, default_value = "", value_name = "WORD")]
    trigger: String,
    /// Folder with pictures of the same class that are not of this style, to keep what the model knows
    #[arg(long, value_name = "DIR", requires = "class_prompt")]
    class_data: Option<PathBuf>,
    /// Caption of the class pictures
    #[arg(long, value_name = "TEXT", requires = "class_data")]
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
            bail!("the name is {:?}; it can have up to 64 letters, digits, - and _", self.name);
        }
        // Everything that can be known to be wrong is said before the model is loaded.
        let mut config = self.settings.read()?;
        let dataset = read_dataset(&self.data, &self.prompt, &self.trigger)?;
        let classes = match &self.class_data {
            Some(folder) => read_dataset(folder, self.class_prompt.as_deref().unwrap_or_default(), "")?,
            None => Dataset::default(),
        };
        for remark in dataset.remarks.iter().chain(&classes.remarks) {
            eprintln!("{}: {}", remark.name, remark.message);
        }
        let places::FoundModel { path, options, .. } = self.model.find()?.tell();
        let mut pipeline = Pipeline::load(&path, &options)?;
        if !self.settings.sized() {
            config.resolution = pipeline.info().defaults.width.min(config.resolution);
        }
        if let Some(problem) = config.problems().into_iter().next() {
            bail!("{}", problem.message);
        }
        let out = self.out.clone().unwrap_or_else(|| PathBuf::from(&self.name));
        fs::create_dir_all(out.join("samples"))
            .with_context(|| format!("the folder {} cannot be made", out.display()))?;
        let result =
            Run { args: &self, dataset: &dataset, classes: &classes, out: &out }.go(&mut pipeline, config);
        let written = result?;
        for path in written {
            // Not println!: a closed stdout is no reason to panic.
            let _ = writeln!(std::io::stdout(), "{}", path.display());
        }
        Ok(())
    }
}

/// One run with what it needs to know.
struct Run<'a> {
    args: &'a TrainArgs,
    dataset: &'a Dataset,
    classes: &'a Dataset,
    out: &'a Path,
}

impl Run<'_> {
    fn go(&self, pipeline: &mut Pipeline, config: TrainingConfig) -> anyhow::Result<Vec<PathBuf>> {
        let started = Instant::now();
        let mut trainer = self.begin(pipeline, config)?;
        let checkpoint = self.out.join("checkpoint.safetensors");
        if checkpoint.is_file() {
            trainer.load(&checkpoint).with_context(|| {
                format!("{} is left from another run; name another folder with --out", checkpoint.display())
            })?;
            eprintln!("Going on after update {} of {}.", trainer.updates(), trainer.config().steps);
        }
        let mut log = Log::open(&self.out.join("training.jsonl"), trainer.updates())?;
        let first = match log.first_held_out() {
            Some(first) => Some(first),
            None => {
                let first = trainer.held_out_loss()?;
                log.write(&Line::held_out(trainer.updates(), first))?;
                first
            }
        };
        if trainer.updates() == 0 {
            self.samples(pipeline, &mut trainer)?;
        }
        let last = self.steps(pipeline, &mut trainer, &mut log, &checkpoint)?.or(first);
        let outcome = Outcome {
            name: &self.args.name,
            trigger: &self.args.trigger,
            model: pipeline.info(),
            dataset: self.dataset,
            config: trainer.config(),
            held_out: first.zip(last),
            parameters: trainer.parameters().count(),
            seconds: started.elapsed().as_secs_f64(),
        };
        self.write(&trainer, &outcome)
    }

    fn begin(&self, pipeline: &Pipeline, config: TrainingConfig) -> anyhow::Result<Trainer> {
        let sources = |dataset: &Dataset| -> anyhow::Result<Vec<Source>> {
            let mut sources = Vec::new();
            for picture in &dataset.pictures {
                let bytes = fs::read(&picture.path)
                    .with_context(|| format!("{} can no longer be read", picture.path.display()))?;
                let found = decode_picture(&bytes)?;
                let rgb = image::RgbImage::from_raw(found.width, found.height, found.rgb)
                    .with_context(|| format!("{} has too few pixels", picture.path.display()))?;
                let source = Source { picture: rgb, caption: picture.caption.clone() };
                sources.extend(std::iter::repeat_n(source, picture.repeats as usize));
            }
            Ok(sources)
        };
        let (instances, classes) = (sources(self.dataset)?, sources(self.classes)?);
        let bar = bar(instances.len() + classes.len(), "picture {pos} of {len}");
        let data = pipeline.prepare(&instances, &classes, &config, &mut |done, _| {
            bar.set_position(done as u64);
            ControlFlow::Continue(())
        })?;
        bar.finish_and_clear();
        let truncated = data.instances.iter().filter(|example| example.truncated).count();
        if truncated > 0 {
            eprintln!(
                "{truncated} captions are longer than the text encoder takes; their ends have no effect."
            );
        }
        eprintln!(
            "Training on {} pictures, {} held out to measure with.",
            data.instances.len(),
            data.held_out.len()
        );
        Ok(pipeline.trainer(config, data)?)
    }

    /// All updates that are left. Gives the last held-out loss.
    fn steps(
        &self,
        pipeline: &mut Pipeline,
        trainer: &mut Trainer,
        log: &mut Log,
        checkpoint: &Path,
    ) -> anyhow::Result<Option<f64>> {
        let config = trainer.config().clone();
        let bar = bar(config.steps as usize, "update {pos} of {len}, loss {msg}, {eta} left");
        bar.set_position(trainer.updates().into());
        bar.reset_eta();
        let (mut last, mut smooth, mut halved) = (None, None::<f64>, trainer.halved());
        while !trainer.finished() {
            let started = Instant::now();
            let micro = trainer.micro_step()?;
            if trainer.halved() && !halved {
                halved = true;
                let at = trainer.updates();
                bar.println(format!(
                    "The loss was no longer finite: back to update {at}, at half the learning rate."
                ));
                bar.set_position(at.into());
            }
            let Some(update) = micro.update else { continue };
            let mean = smooth.map_or(update.loss, |mean| 0.95 * mean + 0.05 * update.loss);
            smooth = Some(mean);
            bar.set_position(update.step.into());
            bar.set_message(format!("{mean:.4}"));
            log.write(&Line::update(&update, started.elapsed().as_secs_f64()))?;
            let (every, end) = (config.checkpoint_every, update.step == config.steps);
            if update.step.is_multiple_of(every) || end {
                trainer.save(checkpoint)?;
                last = trainer.held_out_loss()?;
                log.write(&Line::held_out(update.step, last))?;
            }
            if config.sample_every > 0 && (update.step.is_multiple_of(config.sample_every) || end) {
                self.samples(pipeline, trainer)?;
            }
        }
        bar.finish_and_clear();
        Ok(last)
    }

    /// A picture for each sample prompt, with the same seeds each time.
    fn samples(&self, pipeline: &mut Pipeline, trainer: &mut Trainer) -> anyhow::Result<()> {
        for (index, prompt) in trainer.config().sample_prompts.iter().enumerate() {
            let spec = sample_spec(pipeline, prompt, index as u64)?;
            let output = pipeline.sample(trainer.parameters(), &spec, &mut |_| ControlFlow::Continue(()))?;
            let png = adire_studio::encode_png(&pixels(output.image), "")?;
            let name = format!("samples/{:06}-{index}.png", trainer.updates());
            let path = self.out.join(name);
            fs::write(&path, png).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(())
    }

    fn write(&self, trainer: &Trainer, outcome: &Outcome<'_>) -> anyhow::Result<Vec<PathBuf>> {
        let bytes = trainer.parameters().to_kohya(outcome.metadata())?;
        let kohya = self.out.join(format!("{}.safetensors", self.args.name));
        let adapter = Adapter::from_bytes(&kohya, &bytes)?;
        let table = ModuleTable::of_layers(trainer.parameters().layers());
        let diffusers = self.out.join(format!("{}-diffusers.safetensors", self.args.name));
        let exported = adapter.export(ExportFormat::Diffusers, &table)?;
        let exported = exported.into_iter().next().context("the export in diffusers' format is empty")?;
        let card = self.out.join("README.md");
        let files = [(kohya, bytes), (diffusers, exported.bytes), (card, outcome.card().into_bytes())];
        for (path, bytes) in &files {
            fs::write(path, bytes).with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(files.map(|(path, _)| path).into())
    }
}

fn sample_spec(pipeline: &Pipeline, prompt: &str, seed: u64) -> anyhow::Result<GenerationSpec> {
    let info = pipeline.info();
    let request =
        GenerationRequest { prompt: prompt.to_owned(), seed: Some(seed), ..GenerationRequest::default() };
    Ok(request.validate(&info.limits, &info.defaults, seed)?)
}

fn bar(length: usize, words: &str) -> ProgressBar {
    let bar = ProgressBar::new(length as u64);
    if let Ok(style) = ProgressStyle::with_template(&format!("{{bar:32}} {words}")) {
        bar.set_style(style);
    }
    bar
}
