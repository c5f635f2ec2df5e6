//! Evaluations: a version scored on a suite of prompts, beside the base model and the champion, and the gate's verdict.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::VerdictOutcome;

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
}

impl EvaluationStepName {
    /// In their order.
    pub const ALL: [Self; 5] = [Self::Prepare, Self::Render, Self::Score, Self::Verdict, Self::Promote];

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Render => "render",
            Self::Score => "score",
            Self::Verdict => "verdict",
            Self::Promote => "promote",
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
    /// Seconds that it took.
    pub seconds: Option<f64>,
    /// What it has to say, line by line.
    pub log: Vec<String>,
}

/// Whose image it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EvaluationRole {
    /// The base model, without an adapter.
    Base,
    /// The version that it is compared with.
    Champion,
    /// The version that is evaluated.
    Challenger,
    /// The version that is evaluated, without the trigger word.
    Untriggered,
    /// The version that is evaluated, on a training caption.
    Caption,
    /// The base model on a training caption.
    BaseCaption,
}

impl EvaluationRole {
    /// In a fixed order.
    pub const ALL: [Self; 6] =
        [Self::Base, Self::Champion, Self::Challenger, Self::Untriggered, Self::Caption, Self::BaseCaption];

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Champion => "champion",
            Self::Challenger => "challenger",
            Self::Untriggered => "untriggered",
            Self::Caption => "caption",
            Self::BaseCaption => "base_caption",
        }
    }

    /// The one of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
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

/// A mean difference or a share with its one-sided bounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Bounds {
    /// Above it with the policy's confidence.
    pub lower: f64,
    /// Below it with the policy's confidence.
    pub upper: f64,
}

/// A criterion of the gate with its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EvaluationCriterion {
    /// `floors`, `adherence`, `clip_score_floor`, `style`, `copying` or `people`.
    pub kind: String,
    /// Its result.
    pub outcome: VerdictOutcome,
    /// Whether it is only shown and does not count.
    pub muted: bool,
    /// One sentence with the numbers.
    pub reason: String,
    /// The number that is compared.
    pub value: Option<f64>,
    /// Its bounds.
    pub bounds: Option<Bounds>,
    /// What it is compared with.
    pub threshold: Option<f64>,
    /// The exact p of the test, where it was no t interval.
    pub p: Option<f64>,
}

/// A training image that a rendered one resembles: evidence for or against copying.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Suspect {
    /// The rendered image.
    pub image: String,
    /// Its caption.
    pub text: String,
    /// The nearest training image's thumbnail.
    pub training_image: String,
    /// Cosine of their feature maps, at most 1.
    pub cosine: f64,
    /// Whether it is the image that the caption belongs to.
    pub own: bool,
}

/// The gate's verdict with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EvaluationVerdict {
    /// All criteria together.
    pub outcome: VerdictOutcome,
    /// In a fixed order.
    pub criteria: Vec<EvaluationCriterion>,
    /// Metrics that decide nothing, by name: `cmmd`, `kid`, `diversity`, `leakage`, `style_auc`.
    pub metrics: BTreeMap<String, f64>,
    /// Images that resemble a training image, the nearest first.
    pub suspects: Vec<Suspect>,
    /// Why rendering stopped before the end of the suite.
    pub stopped_early: Option<String>,
    /// sha256 of the gate's settings.
    pub policy_hash: String,
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
