//! Configuration of a training run: settings, presets and their limits.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::FieldError;

/// Configuration of a training run. Absent fields take the value of the *Style* preset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrainingConfig {
    /// Optimizer steps.
    pub steps: u32,
    /// Learning rate of AdamW.
    pub learning_rate: f64,
    /// Learning-rate schedule.
    pub schedule: LearningRateSchedule,
    /// Optimizer steps over which the learning rate rises linearly from 0.
    pub warmup: u32,
    /// Batch size.
    pub batch: u32,
    /// Gradient accumulation: batches per optimizer step.
    pub accumulation: u32,
    /// LoRA rank.
    pub rank: u32,
    /// LoRA alpha: the weight delta is scaled by alpha / rank.
    pub alpha: f64,
    /// UNet layers to train.
    pub targets: Targets,
    /// Whether to train the text encoder's attention as well.
    pub text_encoder: bool,
    /// Shorter side of the images in pixels.
    pub resolution: u32,
    /// How images that are not square are cropped.
    pub crop: Crop,
    /// Probability that a caption is replaced by an empty one, 0 to 1.
    pub caption_dropout: f64,
    /// Weight of the loss on class images (prior preservation).
    pub prior_weight: f64,
    /// Number of class images; those missing from the class dataset are generated from the class prompt. 0: only those
    /// of the dataset.
    #[serde(alias = "class_pictures")]
    pub class_images: u32,
    /// γ of Min-SNR loss weighting (Hang et al. 2023).
    pub min_snr_gamma: Option<f64>,
    /// Noise offset: standard deviation of a per-channel shift of the noise.
    pub noise_offset: f64,
    /// Gradient clipping: maximum global gradient norm.
    pub max_gradient_norm: f64,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// Seed of every random draw; −1 in a request picks a random one.
    #[serde(deserialize_with = "crate::seed::or_random")]
    #[cfg_attr(feature = "openapi", schema(value_type = i64, minimum = -1))]
    pub seed: u64,
    /// Gradient checkpointing: recompute activations in the backward pass, for less memory and more time.
    pub gradient_checkpointing: bool,
    /// Share of the images that are held out, 0 to 0.5.
    pub held_out: f64,
    /// Optimizer steps between two checkpoints, and between two values of the held-out loss.
    pub checkpoint_every: u32,
    /// Optimizer steps between two sets of samples; default: a tenth of all steps; 0 for none.
    pub sample_every: Option<u32>,
    /// Prompts of the samples; default: taken from the dataset's captions.
    pub sample_prompts: Vec<String>,
    /// Whether to write the captions' tags and the sample prompts into the adapter file, which every visitor can
    /// download.
    pub publish_captions: bool,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Preset::Style.config()
    }
}

/// A named set of training settings to start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Preset {
    /// A first result in a few minutes.
    QuickLook,
    /// 20 to 30 images of one style.
    Style,
    /// Higher rank and more steps.
    Thorough,
}

impl Preset {
    /// All presets, in display order.
    pub const ALL: [Self; 3] = [Self::QuickLook, Self::Style, Self::Thorough];

    /// Name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::QuickLook => "quick_look",
            Self::Style => "style",
            Self::Thorough => "thorough",
        }
    }

    /// Display name.
    pub fn label(self) -> &'static str {
        match self {
            Self::QuickLook => "Quick look",
            Self::Style => "Style, 20–30 images",
            Self::Thorough => "Thorough",
        }
    }

    /// Its settings for a model of that native size, in pixels: resolution and learning rate fit it. The presets' rates are
    /// Stable Diffusion 1.5's; a model for smaller images has far fewer weights and learns too little at them.
    pub fn config_for(self, native: u32) -> TrainingConfig {
        let config = self.config().sized_for(native);
        if native >= STANDARD_SIZE {
            return config;
        }
        // A form shows it: without the last digits of a product of doubles.
        let learning_rate = (SMALL_MODEL_FACTOR * config.learning_rate * 1e6).round() / 1e6;
        TrainingConfig { learning_rate, ..config }
    }

    /// Its settings for Stable Diffusion 1.5.
    pub fn config(self) -> TrainingConfig {
        let style = TrainingConfig {
            steps: 800,
            learning_rate: 1e-4,
            schedule: LearningRateSchedule::Constant,
            warmup: 0,
            batch: 1,
            accumulation: 4,
            rank: 4,
            alpha: 4.0,
            targets: Targets::Attention,
            text_encoder: false,
            resolution: 512,
            crop: Crop::Center,
            caption_dropout: 0.0,
            prior_weight: 1.0,
            class_images: 0,
            min_snr_gamma: None,
            noise_offset: 0.0,
            max_gradient_norm: 1.0,
            weight_decay: 0.01,
            seed: 42,
            gradient_checkpointing: false,
            held_out: 0.1,
            checkpoint_every: 50,
            sample_every: None,
            sample_prompts: Vec::new(),
            publish_captions: false,
        };
        match self {
            Self::QuickLook => TrainingConfig { steps: 200, accumulation: 1, learning_rate: 2e-4, ..style },
            Self::Style => style,
            Self::Thorough => TrainingConfig {
                steps: 2000,
                rank: 16,
                alpha: 16.0,
                targets: Targets::Linear,
                schedule: LearningRateSchedule::Cosine,
                warmup: 100,
                caption_dropout: 0.1,
                min_snr_gamma: Some(5.0),
                ..style
            },
        }
    }
}

/// Learning-rate schedule after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum LearningRateSchedule {
    /// Constant.
    Constant,
    /// Linear decay to 0.
    Linear,
    /// Cosine decay to 0.
    Cosine,
}

/// UNet layers to train; each variant includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Targets {
    /// The q, k, v and output projections of every attention.
    Attention,
    /// Also the feed-forward layers.
    FeedForward,
    /// Also the projections into and out of the transformers.
    Linear,
    /// Also the convolutions of residual blocks, downsamplers and upsamplers.
    Convolutions,
}

/// How an image is cropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Crop {
    /// Centre crop to a square.
    Center,
    /// Random square crops, drawn once per image.
    Random,
    /// No crop to a square: the nearest aspect-ratio bucket of about the same area.
    Bucket,
}

macro_rules! names {
    ($type:ident, $what:literal, $($variant:ident => $name:literal),+) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $name),+ })
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(format!(concat!("unknown ", $what, " {:?}; known are ", $($name, " "),+), text)),
                }
            }
        }
    };
}

names!(LearningRateSchedule, "schedule", Constant => "constant", Linear => "linear", Cosine => "cosine");
names!(Targets, "targets", Attention => "attention", FeedForward => "feed_forward", Linear => "linear",
    Convolutions => "convolutions");
names!(Crop, "crop", Center => "center", Random => "random", Bucket => "bucket");
names!(Preset, "preset", QuickLook => "quick_look", Style => "style", Thorough => "thorough");

/// Native size of Stable Diffusion 1.5, in pixels.
const STANDARD_SIZE: u32 = 512;
/// By how much smaller models learn faster. Measured on the starter model, `tools/starter/README.md`: the preset for styles is
/// inconclusive at the plain rate and passes its evaluation at three times the rate.
const SMALL_MODEL_FACTOR: f64 = 3.0;

/// Maximum rank; above it, the adapter of an SD 1.5 layer is not low-rank any more.
const MAX_RANK: u32 = 128;

impl TrainingConfig {
    /// Caps the resolution at the model's `native` size in pixels.
    pub fn sized_for(self, native: u32) -> Self {
        let native = (native / 64 * 64).max(64);
        Self { resolution: self.resolution.min(native), ..self }
    }

    /// Optimizer steps between two sets of samples, with the default applied; 0 for none.
    pub fn sampled_every(&self) -> u32 {
        self.sample_every.unwrap_or_else(|| self.steps.div_ceil(10))
    }

    /// Optimizer steps at which the adapter is saved: at most `most` of them, evenly apart, the last one included.
    pub fn saved_steps(&self, most: usize) -> Vec<u32> {
        let every = self.checkpoint_every.max(1);
        let mut all: Vec<u32> = (1..=self.steps / every).map(|count| count * every).collect();
        if all.last() != Some(&self.steps) {
            all.push(self.steps);
        }
        let count = all.len();
        let most = most.clamp(1, count);
        (1..=most).filter_map(|place| all.get((place * count).div_ceil(most) - 1).copied()).collect()
    }

    /// Every invalid field; empty if the run can start.
    pub fn problems(&self) -> Vec<FieldError> {
        let mut problems = Vec::new();
        let mut check = |field: &str, good: bool, message: String| {
            if !good {
                problems.push(FieldError { field: field.to_owned(), message });
            }
        };
        let mut whole = |field: &str, value: u32, low: u32, high: u32| {
            let message = format!("{field} must be {low} to {high}; got {value}.");
            check(field, (low..=high).contains(&value), message);
        };
        whole("steps", self.steps, 1, 100_000);
        whole("warmup", self.warmup, 0, self.steps);
        whole("batch", self.batch, 1, 16);
        whole("accumulation", self.accumulation, 1, 64);
        whole("rank", self.rank, 1, MAX_RANK);
        whole("resolution", self.resolution, 64, 1024);
        whole("checkpoint_every", self.checkpoint_every, 1, 10_000);
        whole("sample_every", self.sampled_every(), 0, 100_000);
        whole("class_images", self.class_images, 0, 1000);
        check(
            "resolution",
            self.resolution.is_multiple_of(64),
            format!("resolution must be a multiple of 64; got {}.", self.resolution),
        );
        let mut real = |field: &str, value: f64, low: f64, high: f64| {
            let message = format!("{field} must be {low} to {high}; got {value}.");
            check(field, value.is_finite() && (low..=high).contains(&value), message);
        };
        // Very high rates are accepted up to a point: the run detects divergence itself.
        real("learning_rate", self.learning_rate, 1e-9, 1e4);
        real("alpha", self.alpha, 1e-3, 1024.0);
        real("caption_dropout", self.caption_dropout, 0.0, 1.0);
        real("prior_weight", self.prior_weight, 0.0, 10.0);
        real("min_snr_gamma", self.min_snr_gamma.unwrap_or(5.0), 0.1, 100.0);
        real("noise_offset", self.noise_offset, 0.0, 1.0);
        real("max_gradient_norm", self.max_gradient_norm, 1e-3, 1e3);
        real("weight_decay", self.weight_decay, 0.0, 1.0);
        real("held_out", self.held_out, 0.0, 0.5);
        let prompts = self.sample_prompts.len();
        check("sample_prompts", prompts <= 8, format!("{prompts} sample prompts; the limit is 8."));
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_no_problems_and_are_written_as_they_are_read() {
        for preset in Preset::ALL {
            assert_eq!(preset.config().problems(), []);
            let text = serde_json::to_string(&preset.config()).expect("plain data");
            assert_eq!(serde_json::from_str::<TrainingConfig>(&text).expect("its own text"), preset.config());
            assert_eq!(preset.to_string().parse(), Ok(preset));
            assert_eq!(preset.name(), preset.to_string());
        }
    }

    #[test]
    fn small_models_learn_faster() {
        for preset in Preset::ALL {
            assert_eq!(preset.config_for(512), preset.config());
            assert_eq!(preset.config_for(768), preset.config());
        }
        let small = Preset::Style.config_for(256);
        assert_eq!((small.learning_rate, small.resolution), (3e-4, 256));
    }

    #[test]
    fn out_of_range_values_name_their_fields() {
        let config = TrainingConfig {
            rank: 0,
            steps: 0,
            learning_rate: f64::NAN,
            resolution: 100,
            held_out: 0.9,
            ..TrainingConfig::default()
        };
        let fields: Vec<_> = config.problems().into_iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["steps", "rank", "resolution", "learning_rate", "held_out"]);
        let rank = TrainingConfig { rank: 10_000, ..TrainingConfig::default() }.problems();
        assert_eq!(rank[0].message, "rank must be 1 to 128; got 10000.");
    }

    #[test]
    fn a_run_is_sampled_ten_times_by_default() {
        for (text, every) in [
            ("{}", 80),
            (r#"{"steps": 400}"#, 40),
            (r#"{"steps": 3}"#, 1),
            (r#"{"steps": 400, "sample_every": null}"#, 40),
            (r#"{"steps": 400, "sample_every": 0}"#, 0),
            (r#"{"steps": 400, "sample_every": 7}"#, 7),
        ] {
            let config: TrainingConfig = serde_json::from_str(text).expect("readable");
            assert_eq!((config.sampled_every(), config.publish_captions), (every, false), "{text}");
        }
    }

    #[test]
    fn class_images_are_read_under_their_old_name() {
        let config: TrainingConfig = serde_json::from_str(r#"{"class_pictures": 24}"#).expect("readable");
        assert_eq!(config.class_images, 24);
    }

    #[test]
    fn unknown_fields_are_refused() {
        assert!(serde_json::from_str::<TrainingConfig>(r#"{"learningrate": 1}"#).is_err());
    }

    #[test]
    fn saved_steps_are_evenly_apart_and_end_with_the_last() {
        let steps = |steps, checkpoint_every, most| {
            TrainingConfig { steps, checkpoint_every, ..TrainingConfig::default() }.saved_steps(most)
        };
        assert_eq!(steps(12, 4, 20), [4, 8, 12]);
        assert_eq!(steps(10, 4, usize::MAX), [4, 8, 10]);
        assert_eq!(steps(3, 50, 20), [3]);
        assert_eq!(steps(1_000, 100, 4), [300, 500, 800, 1_000]);
        assert_eq!(steps(3_000, 50, 20).len(), 20);
    }
}
