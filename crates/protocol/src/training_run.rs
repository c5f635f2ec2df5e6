//! Training runs: request, state, metrics and events.

use serde::{Deserialize, Serialize};

use crate::{AdapterRef, FieldError, TrainingConfig, ValidationError, Which, old_names::keep_old_names};

/// Adapter name that is refused, because its file would overwrite the run's checkpoint.
pub const RESERVED_NAME: &str = "checkpoint";

/// Request to start a training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrainingRequest {
    /// Name of the adapter to create a version of: up to 64 lower-case letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Id of the dataset, which the run freezes.
    pub dataset: String,
    /// Configuration; absent fields take the value of the *Style* preset.
    #[serde(default)]
    pub config: TrainingConfig,
    /// Id of a dataset of class images, for prior preservation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_dataset: Option<String>,
    /// Prompt that missing class images are generated from, and caption of those that have none of their own; takes
    /// precedence over the class dataset's caption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_prompt: Option<String>,
    /// Adapter version, `name@vN`, whose weights the run starts from. Rank, alpha and targets must match it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continue_from: Option<String>,
    /// Note on the run; becomes the version's description. May be empty.
    #[serde(default)]
    pub note: String,
}

impl TrainingRequest {
    /// Ids of the datasets that it uses.
    pub fn datasets(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.dataset.as_str()).chain(self.class_dataset.as_deref())
    }

    /// Checks everything that can be checked without a model or a store.
    ///
    /// # Errors
    /// Every invalid field.
    pub fn validate(&self) -> Result<(), ValidationError> {
        let mut problems = Vec::new();
        let mut wrong = |field: &str, message: String| {
            problems.push(FieldError { field: field.to_owned(), message });
        };
        if self.name.parse::<AdapterRef>().ok().is_none_or(|name| name.which != Which::Newest) {
            let shown: String = self.name.chars().take(80).collect();
            wrong(
                "name",
                format!(
                    "“{shown}” is not an adapter name; use up to 64 lower-case letters, digits, - _ . and no version."
                ),
            );
        }
        if self.name == RESERVED_NAME {
            wrong("name", format!("“{RESERVED_NAME}” is reserved for checkpoints; choose another name."));
        }
        if self.dataset.is_empty() {
            wrong("dataset", "Choose a dataset.".to_owned());
        }
        if self.note.chars().count() > 500 {
            let length = self.note.chars().count();
            wrong("note", format!("The note has {length} characters; the limit is 500."));
        }
        match (&self.class_prompt, self.config.class_images) {
            (Some(_), 0) if self.class_dataset.is_none() => {
                let message =
                    "A class prompt needs class images: choose a dataset or set a number to generate.";
                wrong("class_prompt", message.to_owned());
            }
            (None, 1..) => {
                wrong("class_prompt", "Enter a class prompt to generate the class images from.".to_owned());
            }
            _ => {}
        }
        for problem in self.config.problems() {
            wrong(&format!("config.{}", problem.field), problem.message);
        }
        if problems.is_empty() { Ok(()) } else { Err(ValidationError(problems)) }
    }
}

/// State of a training run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum TrainingState {
    /// In the queue; one run at a time.
    Queued,
    /// Running.
    Running,
    /// Paused; can be resumed from its checkpoint.
    Paused,
    /// Finished; the adapter version exists.
    Done,
    /// Stopped by an error; can be resumed from its checkpoint.
    Failed,
    /// Cancelled; cannot be resumed.
    Cancelled,
}

impl TrainingState {
    /// All states.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Paused, Self::Done, Self::Failed, Self::Cancelled];

    /// Name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the run is neither queued nor running.
    pub fn is_resting(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Whether it can be resumed.
    pub fn can_resume(self) -> bool {
        matches!(self, Self::Paused | Self::Failed)
    }

    /// Whether it can be paused.
    pub fn can_pause(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }

    /// Whether it can be cancelled.
    pub fn can_cancel(self) -> bool {
        matches!(self, Self::Queued | Self::Running | Self::Paused | Self::Failed)
    }
}

/// Phase of a running training run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = TrainingStage))]
pub enum TrainingPhase {
    /// The base model generates class images, which are kept.
    #[serde(rename = "making_class_pictures")]
    GeneratingClassImages {
        /// Images generated.
        done: u32,
        /// Images to generate in total.
        total: u32,
    },
    /// Images are encoded to latents.
    Preparing {
        /// Images done.
        done: u32,
        /// Images in total, repeats included.
        total: u32,
    },
    /// Three trial steps, rolled back afterwards, to forecast time and memory.
    Forecasting,
    /// The held-out loss is computed.
    Measuring {
        /// Grid points done.
        done: u32,
        /// Grid points in total.
        total: u32,
    },
    /// A sample is generated.
    Sampling,
    /// Optimizer steps run.
    Training,
    /// Yielding to generations.
    Yielding,
}

/// Forecast of the time and memory that a run needs, from three trial steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrainingForecast {
    /// Seconds for all steps, without generations in between.
    pub seconds: f64,
    /// Additional bytes of memory (VRAM on a GPU) that steps need; absent where it cannot be measured.
    pub bytes: Option<u64>,
}

/// A training run with its current state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = TrainingJob))]
#[serde(remote = "Self")]
pub struct TrainingRun {
    /// A UUID v7.
    pub id: String,
    /// Name of the adapter.
    pub name: String,
    /// Id of the dataset.
    pub dataset: String,
    /// sha256 of the dataset's content.
    pub dataset_hash: String,
    /// Configuration.
    pub config: TrainingConfig,
    /// Id of the dataset of class images.
    pub class_dataset: Option<String>,
    /// Class prompt.
    pub class_prompt: Option<String>,
    /// Adapter version that it started from.
    pub continue_from: Option<String>,
    /// Note on the run.
    pub note: String,
    /// State.
    pub state: TrainingState,
    /// Milliseconds since 1970 (UTC), as the other times.
    pub created_at: i64,
    /// When it first started.
    pub started_at: Option<i64>,
    /// When it finished.
    pub finished_at: Option<i64>,
    /// Optimizer steps done. Points and samples of later steps are void.
    pub step: u32,
    /// Optimizer steps in total.
    pub steps: u32,
    /// Phase, while it runs.
    pub phase: Option<TrainingPhase>,
    /// Runs ahead of it, while it is queued.
    pub ahead: Option<u32>,
    /// Current seconds per optimizer step.
    pub seconds_per_step: Option<f64>,
    /// Longest recent delay of a generation by this run, in seconds.
    pub unit_seconds: Option<f64>,
    /// Seconds spent yielding to generations.
    pub waited_seconds: f64,
    /// Estimated milliseconds until it finishes, while it runs.
    pub remaining_ms: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether the loss became NaN or infinite once, so the run rolled back and halved the learning rate.
    pub learning_rate_halved: bool,
    /// `name@vN`, once it exists.
    pub version: Option<String>,
    /// Held-out loss before the first step.
    pub first_held_out: Option<f64>,
    /// Latest held-out loss.
    pub last_held_out: Option<f64>,
    /// Forecast of time and memory.
    pub forecast: Option<TrainingForecast>,
}

impl TrainingRun {
    /// A request for a duplicate of this run.
    pub fn request(&self) -> TrainingRequest {
        TrainingRequest {
            name: self.name.clone(),
            dataset: self.dataset.clone(),
            config: self.config.clone(),
            class_dataset: self.class_dataset.clone(),
            class_prompt: self.class_prompt.clone(),
            continue_from: self.continue_from.clone(),
            note: self.note.clone(),
        }
    }

    /// Relative change of the held-out loss over the run; −0.2 is 20% lower.
    pub fn improvement(&self) -> Option<f64> {
        let (first, last) = self.first_held_out.zip(self.last_held_out)?;
        (first > 0.0).then(|| last / first - 1.0)
    }
}

/// Metrics of one optimizer step, the held-out loss after it, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrainingPoint {
    /// Optimizer steps done, including this one; 0 before the first.
    pub step: u32,
    /// Mean training loss of the step; noisy.
    pub loss: Option<f64>,
    /// Held-out loss over fixed images, noise and timesteps: comparable between steps, and between runs with the same
    /// dataset and seed.
    pub held_out_loss: Option<f64>,
    /// Learning rate of the step.
    pub learning_rate: Option<f64>,
    /// Global gradient norm before clipping.
    pub gradient_norm: Option<f64>,
    /// Seconds that the step took.
    pub seconds: Option<f64>,
}

/// A sample: an image with the same prompt and seed at every step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrainingSample {
    /// Optimizer steps done.
    pub step: u32,
    /// The prompt.
    pub prompt: String,
    /// Index into `sample_prompts`.
    pub prompt_index: u32,
    /// Whether the adapter is applied; false for the base model's image.
    pub with_adapter: bool,
    /// sha256 of the PNG file.
    pub hash: String,
    /// URL of the PNG file.
    pub url: String,
}

/// A training run with its metrics and samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = TrainingDetail))]
#[serde(remote = "Self")]
pub struct TrainingRunDetail {
    /// The run.
    pub run: TrainingRun,
    /// Sorted by step.
    pub points: Vec<TrainingPoint>,
    /// Sorted by step and prompt.
    pub samples: Vec<TrainingSample>,
}

/// An event of a training run. Ids increase, with gaps; a client resumes the stream with the last id it received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(remote = "Self")]
pub struct TrainingEvent {
    /// Increases along the stream.
    pub id: u64,
    /// What happened.
    #[serde(flatten)]
    pub change: TrainingChange,
}

/// What an event of a training run reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum TrainingChange {
    /// The run changed. Points and samples above `run.step` are void.
    Job {
        /// The run.
        run: Box<TrainingRun>,
    },
    /// A new point; replaces the one of the same step.
    Point {
        /// The point.
        point: TrainingPoint,
    },
    /// A new sample; replaces the one of the same step, prompt and `with_adapter`.
    Sample {
        /// The sample.
        sample: TrainingSample,
    },
}

impl TrainingChange {
    /// The name used as the SSE event type.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Job { .. } => "job",
            Self::Point { .. } => "point",
            Self::Sample { .. } => "sample",
        }
    }
}

/// How training runs and generations share the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrainingSettings {
    /// Whether training pauses while any generation is queued or running; otherwise one unit of training runs after
    /// each image.
    pub yield_to_generations: bool,
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self { yield_to_generations: true }
    }
}

keep_old_names! {
    TrainingRun as "TrainingJob",
    TrainingRunDetail as "TrainingDetail",
    TrainingEvent as "TrainingEvent",
    TrainingSettings as "TrainingSettings",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minimal_request_is_valid_and_every_invalid_field_is_named() {
        let request: TrainingRequest =
            serde_json::from_str(r#"{"name": "cloth", "dataset": "x"}"#).expect("the rest has defaults");
        assert_eq!(request.validate(), Ok(()));
        let text = r#"{"name": "Cloth@v1", "dataset": "", "class_prompt": "a", "config": {"rank": 10000}}"#;
        let request: TrainingRequest = serde_json::from_str(text).expect("readable");
        let fields: Vec<_> = request.validate().unwrap_err().0.into_iter().map(|error| error.field).collect();
        assert_eq!(fields, ["name", "dataset", "class_prompt", "config.rank"]);
        assert!(serde_json::from_str::<TrainingRequest>(r#"{"name": "a", "data": "x"}"#).is_err());
    }

    #[test]
    fn each_state_allows_its_actions() {
        use TrainingState::{Cancelled, Done, Failed, Paused, Queued, Running};
        let which = |can: fn(TrainingState) -> bool| {
            TrainingState::ALL.into_iter().filter(|state| can(*state)).collect::<Vec<_>>()
        };
        assert_eq!(which(TrainingState::can_resume), [Paused, Failed]);
        assert_eq!(which(TrainingState::can_pause), [Queued, Running]);
        assert_eq!(which(TrainingState::can_cancel), [Queued, Running, Paused, Failed]);
        assert_eq!(which(TrainingState::is_resting), [Paused, Done, Failed, Cancelled]);
    }
}
