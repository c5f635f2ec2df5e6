//! The settings of a run: a preset, a file over it, flags over both.

use std::{fs, path::PathBuf};

use adire_protocol::{
    Crop, LearningRateSchedule, Preset, Targets, TrainingConfig,
    seed::{self, SeedArg},
};
use anyhow::Context;
use clap::Args;

/// Every setting; what is left out comes from the file, then from the preset.
#[derive(Debug, Args)]
pub(crate) struct SettingArgs {
    /// Where to start from: quick_look, style (20 to 30 images) or thorough
    #[arg(long, default_value = "style")]
    preset: Preset,
    /// TOML file with settings; its keys are the flags' names with _ in place of -
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Updates of the adapter
    #[arg(long)]
    steps: Option<u32>,
    /// Size of AdamW's steps; 1e-4 is usual
    #[arg(long)]
    learning_rate: Option<f64>,
    /// constant, linear or cosine
    #[arg(long)]
    schedule: Option<LearningRateSchedule>,
    /// Updates over which the learning rate rises from zero
    #[arg(long)]
    warmup: Option<u32>,
    /// Images computed at once
    #[arg(long)]
    batch: Option<u32>,
    /// Batches that make one update
    #[arg(long)]
    accumulation: Option<u32>,
    /// Rank of the change
    #[arg(long)]
    rank: Option<u32>,
    /// The change is multiplied with alpha / rank
    #[arg(long)]
    alpha: Option<f64>,
    /// attention, feed_forward, linear or convolutions; each includes those before it
    #[arg(long)]
    targets: Option<Targets>,
    /// Train the text encoder's attention, too
    #[arg(long)]
    text_encoder: bool,
    /// Shorter side of the images in pixels, a multiple of 64; the model's own size when left out
    #[arg(long)]
    resolution: Option<u32>,
    /// center, random or bucket (whole images, in sizes of about the same area)
    #[arg(long)]
    crop: Option<Crop>,
    /// How often a caption is left out, 0 to 1
    #[arg(long)]
    caption_dropout: Option<f64>,
    /// Weight of the class images' loss
    #[arg(long)]
    prior_weight: Option<f64>,
    /// How many class images there are to be; those that --class-data has fewer are made by the model
    #[arg(long)]
    class_pictures: Option<u32>,
    /// Largest signal-to-noise ratio that counts in full; 5 is usual
    #[arg(long)]
    min_snr_gamma: Option<f64>,
    /// Shift of whole channels of noise; 0.05 to 0.1 for darker and brighter images
    #[arg(long)]
    noise_offset: Option<f64>,
    /// Decides every random draw; -1 for a random one, which a run that goes on must be given as a number
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<SeedArg>,
    /// Compute intermediate results again instead of keeping them: less memory, about a third more time
    #[arg(long)]
    gradient_checkpointing: bool,
    /// Share of the images that are only measured with, 0 to 0.5
    #[arg(long)]
    held_out: Option<f64>,
    /// Updates between checkpoints
    #[arg(long)]
    checkpoint_every: Option<u32>,
    /// Updates between sets of samples; a tenth of all when left out, 0 for none
    #[arg(long)]
    sample_every: Option<u32>,
    /// Prompt of a sample; may be given several times. When left out: two of the captions, and one without the trigger
    #[arg(long, value_name = "TEXT")]
    sample_prompt: Vec<String>,
    /// Make no samples
    #[arg(long, conflicts_with_all = ["sample_every", "sample_prompt"])]
    no_samples: bool,
    /// Write the captions' tags and the sample prompts into the adapter file, for everybody who gets it to read
    #[arg(long)]
    publish_captions: bool,
}

impl SettingArgs {
    /// Whether the resolution was given.
    pub(crate) fn sized(&self) -> bool {
        self.resolution.is_some() || self.config.is_some()
    }

    /// The settings in full; their values are not checked here.
    pub(crate) fn read(&self) -> anyhow::Result<TrainingConfig> {
        let mut config = match &self.config {
            None => self.preset.config(),
            Some(path) => {
                let shown = path.display();
                let text = fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?;
                // What the file leaves out is the preset's.
                let mut table = toml::Table::try_from(self.preset.config())?;
                let given: toml::Table = text.parse().with_context(|| format!("{shown} is no TOML"))?;
                table.extend(given);
                table.try_into().with_context(|| format!("{shown} has a setting that is not understood"))?
            }
        };
        macro_rules! take {
            ($($field:ident),+) => { $(if let Some(value) = self.$field { config.$field = value; })+ };
        }
        take!(
            steps,
            learning_rate,
            schedule,
            warmup,
            batch,
            accumulation,
            rank,
            alpha,
            targets,
            resolution,
            crop
        );
        take!(caption_dropout, prior_weight, class_pictures, noise_offset, held_out, checkpoint_every);
        config.sample_every = self.sample_every.or(config.sample_every);
        if self.no_samples {
            config.sample_every = Some(0);
        }
        config.publish_captions |= self.publish_captions;
        if let Some(SeedArg(given)) = self.seed {
            config.seed = given.unwrap_or_else(seed::random);
        }
        config.min_snr_gamma = self.min_snr_gamma.or(config.min_snr_gamma);
        config.text_encoder |= self.text_encoder;
        config.gradient_checkpointing |= self.gradient_checkpointing;
        if !self.sample_prompt.is_empty() {
            config.sample_prompts.clone_from(&self.sample_prompt);
        }
        Ok(config)
    }
}
