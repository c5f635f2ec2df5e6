//! Blind votes between two versions.

use serde::{Deserialize, Serialize};

/// Starts a comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ComparisonRequest {
    /// Id of a finished evaluation, whose images are voted on.
    pub evaluation: String,
}

/// What the votes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ComparisonState {
    /// More votes are needed.
    Undecided,
    /// The version is preferred.
    Better,
    /// The other one is preferred.
    Worse,
    /// As many votes as are taken have shown no difference.
    NoDifference,
}

/// A comparison with what its votes say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ComparisonRecord {
    /// A UUID.
    pub id: String,
    /// Path of the page for voters.
    pub page: String,
    /// Id of the evaluation.
    pub evaluation: String,
    /// The version, `name@vN`.
    pub version: String,
    /// What it is compared with, `name@vN`; absent: the base model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<String>,
    /// Pairs of images.
    pub pairs: u32,
    /// Votes for the version.
    pub better: u32,
    /// Votes for the other one.
    pub worse: u32,
    /// Votes for neither.
    pub ties: u32,
    /// The e-value against “both are equally good”; 20 decides.
    pub e: f64,
    /// What the votes say.
    pub state: ComparisonState,
    /// About how many more votes decide, if they go on as so far; absent when decided or unclear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<u32>,
    /// Milliseconds since 1970 (UTC).
    pub created_at: i64,
    /// When no more votes were taken; absent: they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<i64>,
}

/// A vote as it was cast: sides mean nothing but to the voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoteChoice {
    /// The image on the left.
    Left,
    /// The image on the right.
    Right,
    /// Neither.
    Same,
}

/// What a voter sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ballot {
    /// Token of the link.
    pub token: String,
    /// The next pair; absent: this voter has seen all, or no votes are taken any more.
    pub pair: Option<BallotPair>,
    /// Votes of this voter.
    pub voted: u32,
    /// Pairs.
    pub pairs: u32,
    /// Whether votes are taken.
    pub open: bool,
    /// About how many more votes decide.
    pub more: Option<u32>,
}

/// A pair of images without names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BallotPair {
    /// Its place.
    pub number: u32,
    /// The prompt without trigger words.
    pub prompt: String,
}
