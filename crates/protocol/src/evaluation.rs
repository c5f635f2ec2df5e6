//! Evaluations: a version scored on a suite of prompts, beside the base model and the champion, and the gate's verdict.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{EvaluationRole, EvaluationVerdict};

/// A request for an evaluation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EvaluationRequest {
    /// The version to evaluate, `name@vN` or an alias.
    #[cfg_attr(feature = "openapi", schema(example = "adire@v2"))]
    pub version: String,
    /// The version to compare its style with; by default the one in production, or the base model where there is none.
    #[serde(default)]
    pub against: Option<String>,
    /// A suite in TOML or JSON; by default the built-in one of the model.
    #[serde(default)]
    pub suite: Option<String>,
    /// Id of the dataset whose style is wanted, for a version that was not trained by this studio; by default the dataset
    /// of the version that it is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Promote the version if the verdict is “pass”.
    #[serde(default)]
    pub promote: bool,
    /// Push the version to this repository of the Hugging Face Hub, `owner/name`, if the verdict is “pass” and, where that was
    /// requested, it was promoted. A new repository is private.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
    /// Run this step again instead of reusing an earlier result.
    #[serde(default)]
    pub rerun: Option<EvaluationStepName>,
}

/// Where an evaluation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EvaluationState {
    /// Waiting for its turn.
    Queued,
    /// Under way.
    Running,
    /// Ended with a verdict.
    Done,
    /// Ended without one.
    Failed,
    /// Cancelled.
    Cancelled,
}

impl EvaluationState {
    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The one of that name.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|state| state.name() == name)
    }

    /// Whether nothing changes any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// The steps of an evaluation, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EvaluationStepName {
    /// Names every input: files, prompts, held-out and training images.
    Prepare,
    /// Renders what has not been rendered before.
    Render,
    /// Computes features and metrics.
    Score,
    /// Decides each criterion.
    Verdict,
    /// Moves the version to production, where that was requested and the verdict allows it.
    Promote,
    /// Queues a push of the version, where that was requested and the verdict allows it.
    Publish,
}

impl EvaluationStepName {
    /// In their order.
    pub const ALL: [Self; 6] =
        [Self::Prepare, Self::Render, Self::Score, Self::Verdict, Self::Promote, Self::Publish];

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Render => "render",
            Self::Score => "score",
            Self::Verdict => "verdict",
            Self::Promote => "promote",
            Self::Publish => "publish",
        }
    }

    /// The one of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name() == name)
    }
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Under way.
    Running,
    /// Run to its end.
    Done,
    /// Not run: its inputs equal those of an earlier evaluation, whose outputs were taken.
    Reused,
    /// Not needed.
    Skipped,
}

/// A step with what it depended on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EvaluationStep {
    /// Which step.
    pub name: EvaluationStepName,
    /// What became of it.
    pub state: StepState,
    /// Revision of its code: grows when its outputs change for the same inputs.
    pub revision: u32,
    /// Hashes and values of what it depends on.
    pub inputs: BTreeMap<String, String>,
    /// sha256 of `name`, `revision` and `inputs`; absent until the inputs are known.
    pub key: Option<String>,
    /// Why it ran, or what was reused, in one sentence.
    pub why: String,
    /// Id of the evaluation whose outputs were taken.
    pub reused_from: Option<String>,
    /// sha256 of its outputs.
    pub outputs: Option<String>,
    /// Seeds of the images that it renders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
    /// Device and precision that it ran on; absent in steps of older programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Id of the push that it has queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<String>,
    /// Seconds that it took.
    pub seconds: Option<f64>,
    /// What it has to say, line by line.
    pub log: Vec<String>,
}

/// An image of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EvaluationImage {
    /// Whose it is.
    pub role: EvaluationRole,
    /// Index of its prompt in the suite, or of its training image.
    pub prompt: u32,
    /// The prompt that was rendered.
    pub text: String,
    /// Its seed.
    pub seed: u64,
    /// sha256 of the PNG file.
    pub hash: String,
    /// URL of the PNG file.
    pub url: String,
    /// Seconds that it took to render.
    pub seconds: f64,
    /// Its CLIPScore, 0 to 2.5.
    pub clip_score: Option<f64>,
    /// Its style margin.
    pub style_margin: Option<f64>,
}

/// An evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EvaluationRecord {
    /// A UUID v7.
    pub id: String,
    /// Where it stands.
    pub state: EvaluationState,
    /// `name@vN` that is evaluated.
    pub version: String,
    /// `name@vN` that its style is compared with; absent: the base model.
    pub champion: Option<String>,
    /// Name of the suite.
    pub suite: String,
    /// Prompts × seeds of the suite.
    pub prompts: u32,
    /// The judge's name, once it is known.
    pub judge: Option<String>,
    /// Whether a passing verdict promotes it.
    pub promote: bool,
    /// The repository that it is pushed to if it passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
    /// Milliseconds since 1970 (UTC).
    pub created_at: i64,
    /// Milliseconds since 1970 (UTC).
    pub started_at: Option<i64>,
    /// Milliseconds since 1970 (UTC).
    pub finished_at: Option<i64>,
    /// Images that there are.
    pub images_done: u32,
    /// Images that there will be; 0 until the plan is made.
    pub images: u32,
    /// Steps in order.
    pub steps: Vec<EvaluationStep>,
    /// The verdict, once there is one.
    pub verdict: Option<EvaluationVerdict>,
    /// What to know about the result, such as a suite that is too small.
    pub warnings: Vec<String>,
    /// Why it failed.
    pub error: Option<String>,
}

/// An evaluation with its images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EvaluationDetail {
    /// The evaluation.
    pub evaluation: EvaluationRecord,
    /// Images so far.
    pub images: Vec<EvaluationImage>,
}

/// The gate's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GatePolicy {
    /// TOML; see `docs/evaluation.md`. Empty: the defaults.
    pub toml: String,
}
