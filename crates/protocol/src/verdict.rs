//! The gate's verdict with its criteria and evidence, whose images it rests on, and what metrics mean.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::VerdictOutcome;

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
    /// The base model without the trigger word, where the suite puts plain words in its place.
    BaseUntriggered,
}

impl EvaluationRole {
    /// In a fixed order.
    pub const ALL: [Self; 7] = [
        Self::Base,
        Self::Champion,
        Self::Challenger,
        Self::Untriggered,
        Self::Caption,
        Self::BaseCaption,
        Self::BaseUntriggered,
    ];

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Champion => "champion",
            Self::Challenger => "challenger",
            Self::Untriggered => "untriggered",
            Self::Caption => "caption",
            Self::BaseCaption => "base_caption",
            Self::BaseUntriggered => "base_untriggered",
        }
    }

    /// The one of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
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
    /// Means of each prompt, where prompts are compared in pairs; empty in verdicts of older programs.
    #[serde(default)]
    pub prompts: Vec<PromptMeans>,
}

/// Mean scores of the images of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PromptMeans {
    /// Index of the prompt in the suite.
    pub prompt: u32,
    /// Of the version.
    pub challenger: f64,
    /// Of the base model or the version that it is compared with; 0 for a fixed value.
    pub reference: f64,
}

/// An image that could not be rendered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FailedImage {
    /// Whose it would be.
    pub role: EvaluationRole,
    /// Index of its prompt in the suite, or of its training image.
    pub prompt: u32,
    /// The prompt.
    pub text: String,
    /// Its seed.
    pub seed: u64,
    /// Why.
    pub reason: String,
}

/// Which values of a metric are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MetricDirection {
    /// Higher ones.
    Higher,
    /// Lower ones.
    Lower,
    /// Those near the base model's.
    Reference,
}

/// A metric: what its number means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MetricInfo {
    /// Its name in verdicts.
    pub name: String,
    /// One sentence on what it measures.
    pub about: String,
    /// Its unit; empty for a plain number.
    pub unit: String,
    /// The lowest value; absent: none.
    pub low: Option<f64>,
    /// The highest value; absent: none.
    pub high: Option<f64>,
    /// Which values are better.
    pub direction: MetricDirection,
    /// Grows whenever results for the same features change.
    pub revision: u32,
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
    /// sha256 of images that are of one colour.
    #[serde(default)]
    pub flat: Vec<String>,
    /// Images that could not be rendered.
    #[serde(default)]
    pub failed: Vec<FailedImage>,
    /// URLs of thumbnails of the held-out images that style is measured by.
    #[serde(default)]
    pub held_out: Vec<String>,
    /// Why rendering stopped before the end of the suite.
    pub stopped_early: Option<String>,
    /// sha256 of the gate's settings.
    pub policy_hash: String,
}
