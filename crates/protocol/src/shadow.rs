//! Shadow rendering: a challenger renders every k-th production generation again, and pairs of images are scored.

use serde::{Deserialize, Serialize};

/// Every how manieth production generation a shadow renders, unless the request says otherwise.
pub const SHADOW_EVERY: u32 = 10;
/// Pairs after which a shadow ends, unless the request says otherwise.
pub const SHADOW_PAIRS: u32 = 500;
/// Largest `every` and `max_pairs`.
pub const MAX_SHADOW: u32 = 1_000;

/// A request to switch a version's shadow on, or to change one that is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ShadowRequest {
    /// k: every how manieth production generation is rendered, 1 to 1000.
    pub every: u32,
    /// Pairs after which it ends, 1 to 1000.
    pub max_pairs: u32,
}

impl Default for ShadowRequest {
    fn default() -> Self {
        Self { every: SHADOW_EVERY, max_pairs: SHADOW_PAIRS }
    }
}

/// A shadow: one that is on, or the last one of a version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ShadowRecord {
    /// The challenger, `name@vN`.
    pub version: String,
    /// The version in production that it is compared with.
    pub champion: String,
    /// Whether it is on.
    pub on: bool,
    /// Why it rests although it is on.
    pub rests: Option<String>,
    /// k.
    pub every: u32,
    /// Pairs after which it ends.
    pub max_pairs: u32,
    /// Generations of the version in production that were counted.
    pub generations: u64,
    /// Pairs that are scored.
    pub scored: u32,
    /// Pairs that wait for the device.
    pub waiting: u32,
    /// Pairs without a score.
    pub left_out: u32,
    /// The model that scores.
    pub judge: String,
    /// What was found on each measure: `clip_score`, then `style_margin`, unless style is not measured.
    pub measures: Vec<ShadowMeasure>,
    /// Why style is not measured.
    pub style_note: Option<String>,
    /// When it was switched on, in milliseconds since 1970 (UTC).
    pub started_at: i64,
    /// Who switched it on.
    pub started_by: String,
    /// When it ended.
    pub ended_at: Option<i64>,
    /// Who or what ended it.
    pub ended_by: Option<String>,
    /// Why it ended.
    pub reason: Option<String>,
    /// The newest pairs, the last one first; without those whose generation was deleted.
    pub pairs: Vec<ShadowPair>,
}

/// Pairs counted on one measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ShadowMeasure {
    /// `clip_score` or `style_margin`.
    pub name: String,
    /// Pairs in which the challenger's image has the higher score.
    pub better: u32,
    /// Pairs in which the version in production has it.
    pub worse: u32,
    /// Pairs with equal scores; they do not count.
    pub ties: u32,
    /// e-value against “both are equally often better”, after the last pair.
    pub e: f64,
    /// What is decided once the e-value has reached 20; it stays decided.
    pub outcome: ShadowOutcome,
    /// After how many pairs it was decided.
    pub decided_after: Option<u32>,
    /// About how many more pairs decide, if they go on as so far; absent when the two are too close to say.
    pub more_pairs: Option<u32>,
}

/// Which version is better on a measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ShadowOutcome {
    /// Too few pairs to say.
    Undecided,
    /// The challenger.
    Better,
    /// The version in production.
    Worse,
}

/// Two images of one production generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ShadowPair {
    /// Which of the counted generations it is.
    pub number: u64,
    /// The generation's prompt.
    pub prompt: String,
    /// Its seed.
    pub seed: u64,
    /// Address of the image that the visitor got.
    pub champion: String,
    /// Address of the challenger's image.
    pub challenger: String,
    /// CLIPScores: production, challenger.
    pub clip_scores: [f64; 2],
    /// Style margins: production, challenger.
    pub style_margins: Option<[f64; 2]>,
}
