//! Settings of a training run: a preset, overridden by a file, overridden by flags.

use std::{fs, path::PathBuf};

use adire_protocol::{
    Crop, LearningRateSchedule, Preset, Targets, TrainingConfig,
    seed::{self, SeedArg},
};
use anyhow::Context;
use clap::Args;

/// Training settings. Flags override the file, which overrides the preset.
#[derive(Debug, Args)]
pub(crate) struct SettingArgs {
    /// Preset: quick_look, style (20–30 images) or thorough
    #[arg(long, default_value = "style")]
    preset: Preset,
    /// TOML file with settings; keys are the flags' names with _ instead of -
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Optimizer steps
    #[arg(long)]
    steps: Option<u32>,
    /// Learning rate; 1e-4 is typical
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Learning-rate schedule: constant, linear or cosine
    #[arg(long)]
    schedule: Option<LearningRateSchedule>,
    /// Optimizer steps over which the learning rate rises from 0
    #[arg(long)]
    warmup: Option<u32>,
    /// Batch size
    #[arg(long)]
    batch: Option<u32>,
    /// Gradient accumulation steps
    #[arg(long)]
    accumulation: Option<u32>,
    /// LoRA rank
    #[arg(long)]
    rank: Option<u32>,
    /// LoRA alpha; the weight delta is scaled by alpha / rank
    #[arg(long)]
    alpha: Option<f64>,
    /// UNet layers to train: attention, feed_forward, linear or convolutions; each includes those before it
    #[arg(long)]
    targets: Option<Targets>,
    /// Train the text encoder's attention as well
    #[arg(long)]
    text_encoder: bool,
    /// Shorter side of the images in pixels, a multiple of 64 [default: the model's native size]
    #[arg(long)]
    resolution: Option<u32>,
    /// Crop: center, random or bucket (aspect-ratio buckets, no crop to a square)
    #[arg(long)]
    crop: Option<Crop>,
    /// Probability of dropping a caption, 0 to 1
    #[arg(long)]
    caption_dropout: Option<f64>,
    /// Weight of the loss on class images
    #[arg(long)]
    prior_weight: Option<f64>,
    /// Number of class images; those missing from --class-data are generated
    #[arg(long, alias = "class-pictures")]
    class_images: Option<u32>,
    /// Min-SNR γ: down-weights low-noise timesteps; usually 5
    #[arg(long)]
    min_snr_gamma: Option<f64>,
    /// Noise offset; 0.05 to 0.1 helps with very dark and very bright images
    #[arg(long)]
    noise_offset: Option<f64>,
    /// Seed of every random draw; -1 for a random one (to resume such a run, pass its number)
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<SeedArg>,
    /// Recompute activations in the backward pass: less memory, about a third more time
    #[arg(long)]
    gradient_checkpointing: bool,
    /// Share of the images held out to measure the loss, 0 to 0.5
    #[arg(long)]
    held_out: Option<f64>,
    /// Optimizer steps between checkpoints
    #[arg(long)]
    checkpoint_every: Option<u32>,
    /// Optimizer steps between sets of samples, 0 for none [default: a tenth of --steps]
    #[arg(long)]
    sample_every: Option<u32>,
    /// Prompt of a sample; repeatable [default: two of the captions, and one without the trigger word]
    #[arg(long, value_name = "TEXT")]
    sample_prompt: Vec<String>,
    /// Generate no samples
    #[arg(long, conflicts_with_all = ["sample_every", "sample_prompt"])]
    no_samples: bool,
    /// Write the captions' tags and the sample prompts into the adapter file, readable by anyone who gets it
    #[arg(long)]
    publish_captions: bool,
}

impl SettingArgs {
    /// Whether the resolution is set explicitly.
    pub(crate) fn sized(&self) -> bool {
        self.resolution.is_some() || self.config.is_some()
    }

    /// The merged settings, not yet validated.
    pub(crate) fn read(&self) -> anyhow::Result<TrainingConfig> {
        let mut config = match &self.config {
            None => self.preset.config(),
            Some(path) => {
                let shown = path.display();
                let text = fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?;
                // Keys that the file lacks come from the preset.
                let mut table = toml::Table::try_from(self.preset.config())?;
                let mut given: toml::Table =
                    text.parse().with_context(|| format!("{shown} is not valid TOML"))?;
                if let Some(count) = given.remove("class_pictures") {
                    given.entry("class_images").or_insert(count);
                }
                table.extend(given);
                table.try_into().with_context(|| format!("{shown} has an unknown or invalid setting"))?
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
        take!(caption_dropout, prior_weight, class_images, noise_offset, held_out, checkpoint_every);
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
