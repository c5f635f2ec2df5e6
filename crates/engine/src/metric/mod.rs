//! Metrics of an adapter's images: how well they follow prompts, how near they are to a style, how varied they are, and
//! whether they are copies. Each takes features, one row for each image or text, and knows neither models nor files; the
//! features are the [`judge`]'s.
//!
//! A metric's [`Metric::revision`] changes whenever its result for the same features can change, so that stored scores
//! of an older one are computed again. Committed goldens fail if a result changes and the revision does not.

pub mod adherence;
pub mod distance;
pub mod diversity;
pub mod floors;
pub mod judge;
pub mod memorisation;
pub mod style;

mod features;

pub use features::{Features, FeaturesError};
pub use judge::{ImageFeatures, Judge};

/// Which values are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Higher is better.
    Higher,
    /// Lower is better.
    Lower,
    /// Nearer to the base's value is better.
    Reference,
}

/// What a metric's number means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// Name in tables and in JSON.
    pub name: &'static str,
    /// One sentence on what it measures.
    pub about: &'static str,
    /// Unit, or an empty string for a plain number.
    pub unit: &'static str,
    /// Lowest and highest value that it can have.
    pub range: (f64, f64),
    /// Which values are better.
    pub direction: Direction,
    /// Changes whenever results change.
    pub revision: u32,
}

/// Every metric, in the order of pages and reports.
pub const METRICS: &[Metric] = &[
    adherence::CLIP_SCORE,
    style::STYLE_MARGIN,
    style::STYLE_AUC,
    style::STYLE_GOAL,
    style::LEAKAGE,
    distance::CMMD,
    distance::KID,
    diversity::DIVERSITY,
    memorisation::DATA_COPYING,
    memorisation::OWN_IMAGE_NEAREST,
    memorisation::COPIED_SHARE,
];
