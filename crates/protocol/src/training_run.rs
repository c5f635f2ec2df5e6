//! Training jobs: what is asked for, how it stands, what it has measured.

use serde::{Deserialize, Serialize};

use crate::{AdapterRef, FieldError, TrainingConfig, ValidationError};

/// The one name that no trained adapter can have: its file would be the run's own.
pub const RESERVED_NAME: &str = "checkpoint";

/// A training that is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrainingRequest {
    /// Name of the adapter that it makes a version of: lower-case letters, digits, `-`, `_`, `.`; at most 64.
    pub name: String,
    /// Id of the dataset. It never changes from then on.
    pub dataset: String,
    /// Every setting; what is left out takes the *Style* preset's value.
    #[serde(default)]
    pub config: TrainingConfig,
    /// Id of a dataset with images of the same class that are not of this style, to keep what the model knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_dataset: Option<String>,
    /// Caption of class images that have none of their own; goes before that dataset's. What the model makes class
    /// images of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_prompt: Option<String>,
    /// Adapter version, `name@vN`, whose weights the run begins with instead of no change. Rank, alpha and targets must
    /// be those it was trained with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continue_from: Option<String>,
    /// What the run is for; becomes the version's description. May be empty.
    #[serde(default)]
    pub note: String,
}

impl TrainingRequest {
    /// Ids of the datasets that it needs.
    pub fn datasets(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.dataset.as_str()).chain(self.class_dataset.as_deref())
    }

    /// Checks everything that can be checked without a model or a store.
    ///
    /// # Errors
    /// Every field that cannot be taken.
    pub fn validate(&self) -> Result<(), ValidationError> {
        let mut problems = Vec::new();
        let mut wrong = |field: &str, message: String| {
            problems.push(FieldError { field: field.to_owned(), message });
        };
        if self.name.parse::<AdapterRef>().ok().is_none_or(|name| name.version.is_some()) {
            let shown: String = self.name.chars().take(80).collect();
            wrong(
                "name",
                format!(
                    "“{shown}” is no adapter name: lower-case letters, digits, - _ . only, at most 64; without a version."
                ),
            );
        }
        if self.name == RESERVED_NAME {
            wrong(
                "name",
                format!("“{RESERVED_NAME}” is what a run's own state is called; choose another name."),
            );
        }
        if self.dataset.is_empty() {
            wrong("dataset", "Choose a dataset.".to_owned());
        }
        if self.note.chars().count() > 500 {
            let length = self.note.chars().count();
            wrong("note", format!("The note has {length} characters; it can have 500."));
        }
        match (&self.class_prompt, self.config.class_pictures) {
            (Some(_), 0) if self.class_dataset.is_none() => {
                let message =
                    "A class prompt needs class pictures: a dataset, or a number for the model to make.";
                wrong("class_prompt", message.to_owned());
            }
            (None, 1..) => {
                wrong(
                    "class_prompt",
                    "Say what the class pictures show; the model makes them of it.".to_owned(),
                );
            }
            _ => {}
        }
        for problem in self.config.problems() {
            wrong(&format!("config.{}", problem.field), problem.message);
        }
        if problems.is_empty() { Ok(()) } else { Err(ValidationError(problems)) }
    }
}

/// Where a training is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum TrainingState {
    /// Waits for its turn; one runs at a time.
    Queued,
    /// Runs.
    Running,
    /// Stopped by a person; goes on from its checkpoint when told to.
    Paused,
    /// Ended; the version is there.
    Done,
    /// Ended with an error. What its checkpoint holds is kept; it can be told to go on.
    Failed,
    /// Stopped for good.
    Cancelled,
}

impl TrainingState {
    /// All.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Paused, Self::Done, Self::Failed, Self::Cancelled];

    /// As it is written.
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

    /// Whether nothing more happens unless a person says so.
    pub fn is_resting(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Whether it can be told to go on.
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

/// What a running training does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = TrainingStage))]
pub enum TrainingPhase {
    /// The base model makes images of the class, which are kept.
    #[serde(rename = "making_class_pictures")]
    GeneratingClassImages {
        /// Images made.
        done: u32,
        /// Images to make in all.
        total: u32,
    },
    /// Images become latents.
    Preparing {
        /// Images done.
        done: u32,
        /// Images in all, repeats counted.
        total: u32,
    },
    /// Three steps that are undone, to know time and memory.
    Forecasting,
    /// The held-out loss is measured.
    Measuring {
        /// Measurements done.
        done: u32,
        /// Measurements in all.
        total: u32,
    },
    /// An image is made to look at.
    Sampling,
    /// Steps are made.
    Training,
    /// It waits for people's images.
    Yielding,
}

/// What three steps have shown that the run will need.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrainingForecast {
    /// Seconds that all steps take, if nobody else wants the device.
    pub seconds: f64,
    /// Bytes of memory, the GPU's if it trains there, that steps need beside what is in use, where that can be measured.
    pub bytes: Option<u64>,
}

/// A training as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = TrainingJob))]
pub struct TrainingRun {
    /// A UUID v7.
    pub id: String,
    /// Name of the adapter.
    pub name: String,
    /// Id of the dataset.
    pub dataset: String,
    /// The dataset's content, by its sha256.
    pub dataset_hash: String,
    /// Every setting.
    pub config: TrainingConfig,
    /// Id of the dataset of class images.
    pub class_dataset: Option<String>,
    /// Caption of class images without one of their own.
    pub class_prompt: Option<String>,
    /// The version that it began with.
    pub continue_from: Option<String>,
    /// What the run is for.
    pub note: String,
    /// Where in its life it is.
    pub state: TrainingState,
    /// Milliseconds since 1970 (UTC), as the other times.
    pub created_at: i64,
    /// When it first ran.
    pub started_at: Option<i64>,
    /// When it ended.
    pub finished_at: Option<i64>,
    /// Updates made. Points and samples of later steps no longer count.
    pub step: u32,
    /// Updates in all.
    pub steps: u32,
    /// What it does, while it runs.
    pub stage: Option<TrainingPhase>,
    /// Trainings that go before it, while it waits.
    pub ahead: Option<u32>,
    /// Seconds that one update takes now.
    pub seconds_per_step: Option<f64>,
    /// The longest that an image has lately had to wait for this training, in seconds.
    pub unit_seconds: Option<f64>,
    /// Seconds that it has waited for people's images.
    pub waited_seconds: f64,
    /// Expected milliseconds until its end, while it runs.
    pub remaining_ms: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
    /// The loss was once no longer finite: the run went back and the learning rate was halved.
    pub halved: bool,
    /// `name@vN`, once it is there.
    pub version: Option<String>,
    /// Held-out loss before the first update.
    pub first_held_out: Option<f64>,
    /// Held-out loss at the last measurement.
    pub last_held_out: Option<f64>,
    /// What it was expected to need.
    pub forecast: Option<TrainingForecast>,
}

impl TrainingRun {
    /// The same again, to be changed and asked for.
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

    /// Change of the held-out loss over the run; −0.2 is a fifth less.
    pub fn improvement(&self) -> Option<f64> {
        let (first, last) = self.first_held_out.zip(self.last_held_out)?;
        (first > 0.0).then(|| last / first - 1.0)
    }
}

/// What one update measured, what the held-out loss was after it, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrainingPoint {
    /// Updates made, this one included; 0 before the first.
    pub step: u32,
    /// Mean loss of its images: noisy.
    pub loss: Option<f64>,
    /// Loss over a fixed grid of held-out images, noise and timesteps: comparable between steps and runs of the same
    /// dataset and seed.
    pub held_out_loss: Option<f64>,
    /// The learning rate that was used.
    pub learning_rate: Option<f64>,
    /// Norm of all gradients before they were clipped.
    pub gradient_norm: Option<f64>,
    /// Seconds that the update took.
    pub seconds: Option<f64>,
}

/// An image made to look at: the same prompt and seed at every step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrainingSample {
    /// Updates made.
    pub step: u32,
    /// The prompt.
    pub prompt: String,
    /// Its place in `sample_prompts`.
    pub prompt_index: u32,
    /// Whether what was trained took part; without it, it is what the base makes of the prompt.
    pub with_adapter: bool,
    /// sha256 of the PNG file.
    pub hash: String,
    /// Address of the PNG file.
    pub url: String,
}

/// A training with everything it has measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = TrainingDetail))]
pub struct TrainingRunDetail {
    /// How it stands.
    pub job: TrainingRun,
    /// In the order of their steps.
    pub points: Vec<TrainingPoint>,
    /// In the order of their steps and prompts.
    pub samples: Vec<TrainingSample>,
}

/// One event of a training. Numbers grow, with gaps; whoever missed some asks again with the last number it saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrainingEvent {
    /// Grows along the stream.
    pub id: u64,
    /// What happened.
    #[serde(flatten)]
    pub change: TrainingChange,
}

/// What happened to a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum TrainingChange {
    /// It stands otherwise. Points and samples above `job.step` no longer count.
    Job {
        /// How it stands.
        job: Box<TrainingRun>,
    },
    /// A point is there, in place of the one of the same step.
    Point {
        /// The point.
        point: TrainingPoint,
    },
    /// A sample is there, in place of the one of the same step, prompt and kind.
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

/// How training and people share the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TrainingSettings {
    /// No unit of training is made as long as any image waits or is made. Otherwise one unit is made after each
    /// image.
    pub pause_while_people_wait: bool,
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self { pause_while_people_wait: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_needs_little_and_every_bad_field_is_named() {
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
    fn states_say_what_can_be_done() {
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
