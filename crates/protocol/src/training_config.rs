//! What a training run is asked to do: the settings, their presets, and what may be asked.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::FieldError;

/// Settings of a training run. What is left out takes the *Style* preset's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrainingConfig {
    /// Updates of the adapter.
    pub steps: u32,
    /// Size of the step that AdamW takes.
    pub learning_rate: f64,
    /// How the learning rate moves over the run.
    pub schedule: LearningRateSchedule,
    /// Updates over which the learning rate rises from zero.
    pub warmup: u32,
    /// Images that are computed at once.
    pub batch: u32,
    /// Batches whose gradients make one update.
    pub accumulation: u32,
    /// Rank of the two factors.
    pub rank: u32,
    /// The change is multiplied with alpha / rank.
    pub alpha: f64,
    /// Which layers of the UNet are changed.
    pub targets: Targets,
    /// Whether the text encoder's attention is changed, too.
    pub text_encoder: bool,
    /// Shorter side of the images in pixels.
    pub resolution: u32,
    /// Which part of an image that is not square is taken.
    pub crop: Crop,
    /// How often a caption is replaced by an empty one, 0 to 1.
    pub caption_dropout: f64,
    /// Weight of the class images' loss.
    pub prior_weight: f64,
    /// How many class images there are to be: what the class dataset has fewer, the model makes of the class prompt.
    /// 0: only those of the dataset.
    pub class_pictures: u32,
    /// Largest signal-to-noise ratio that counts in full (Hang et al. 2023).
    pub min_snr_gamma: Option<f64>,
    /// Standard deviation of the shift that is added to a whole channel of noise.
    pub noise_offset: f64,
    /// Largest norm of all gradients together.
    pub max_gradient_norm: f64,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// Decides every random draw; −1 in a request: a random one.
    #[serde(deserialize_with = "crate::seed::or_random")]
    #[cfg_attr(feature = "openapi", schema(value_type = i64, minimum = -1))]
    pub seed: u64,
    /// Whether intermediate results are computed again in the backward pass: less memory, more time.
    pub gradient_checkpointing: bool,
    /// Share of the images that are held out to measure with, 0 to 0.5.
    pub held_out: f64,
    /// Updates between two checkpoints (and two measurements of the held-out loss).
    pub checkpoint_every: u32,
    /// Updates between two sets of samples; a tenth of all when left out, 0 for none.
    pub sample_every: Option<u32>,
    /// Prompts of the samples; when there are none, they are made of the dataset's captions.
    pub sample_prompts: Vec<String>,
    /// Whether the captions' tags and the sample prompts are written into the adapter file, which every visitor can
    /// download.
    pub publish_captions: bool,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Preset::Style.config()
    }
}

/// Where one starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Preset {
    /// A first impression in a few minutes.
    QuickLook,
    /// 20 to 30 images of one style.
    Style,
    /// More capacity and more time.
    Thorough,
}

impl Preset {
    /// All, in the order in which they are offered.
    pub const ALL: [Self; 3] = [Self::QuickLook, Self::Style, Self::Thorough];

    /// As requests write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::QuickLook => "quick_look",
            Self::Style => "style",
            Self::Thorough => "thorough",
        }
    }

    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Self::QuickLook => "Quick look",
            Self::Style => "Style, 20–30 pictures",
            Self::Thorough => "Thorough",
        }
    }

    /// Its settings.
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
            class_pictures: 0,
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

/// How the learning rate moves after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum LearningRateSchedule {
    /// Not at all.
    Constant,
    /// Evenly to zero.
    Linear,
    /// By half a cosine to zero.
    Cosine,
}

/// Which layers of the UNet are changed; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Targets {
    /// The four projections of every attention.
    Attention,
    /// And the feed-forward layers.
    FeedForward,
    /// And the projections into and out of the transformers.
    Linear,
    /// And the convolutions of residual blocks, down- and upsamplers.
    Convolutions,
}

/// Which part of an image is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Crop {
    /// The square in the middle.
    Center,
    /// Squares at places that are drawn once for each image.
    Random,
    /// The whole image, in the bucket of sizes of about the same area that is nearest to its shape.
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

/// Largest rank: beyond it a change of SD 1.5's layers is no longer small.
const MAX_RANK: u32 = 128;

impl TrainingConfig {
    /// The same for a model whose images are smaller: never larger than `native` pixels.
    pub fn sized_for(self, native: u32) -> Self {
        let native = (native / 64 * 64).max(64);
        Self { resolution: self.resolution.min(native), ..self }
    }

    /// Updates between two sets of samples, where nobody said so as well; 0 for none.
    pub fn sampled_every(&self) -> u32 {
        self.sample_every.unwrap_or_else(|| self.steps.div_ceil(10))
    }

    /// Everything that cannot be taken as it is; empty if the run can begin.
    pub fn problems(&self) -> Vec<FieldError> {
        let mut problems = Vec::new();
        let mut check = |field: &str, good: bool, message: String| {
            if !good {
                problems.push(FieldError { field: field.to_owned(), message });
            }
        };
        let mut whole = |field: &str, value: u32, low: u32, high: u32| {
            let message = format!("{field} is {value}; it can be {low} to {high}.");
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
        whole("class_pictures", self.class_pictures, 0, 1000);
        check(
            "resolution",
            self.resolution.is_multiple_of(64),
            format!("resolution is {}; it must be a multiple of 64.", self.resolution),
        );
        let mut real = |field: &str, value: f64, low: f64, high: f64| {
            let message = format!("{field} is {value}; it can be {low} to {high}.");
            check(field, value.is_finite() && (low..=high).contains(&value), message);
        };
        // Absurd rates are let through up to a point: the run itself notices and says so.
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
        check("sample_prompts", prompts <= 8, format!("{prompts} sample prompts; there can be 8 at most."));
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
    fn absurd_values_are_named() {
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
        assert_eq!(rank[0].message, "rank is 10000; it can be 1 to 128.");
    }

    #[test]
    fn a_run_is_sampled_ten_times_unless_somebody_says_otherwise() {
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
    fn unknown_fields_are_refused() {
        assert!(serde_json::from_str::<TrainingConfig>(r#"{"learningrate": 1}"#).is_err());
    }
}
