//! What the backend computes from features: the metrics' formulas are the engine's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Features of some images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// [`crate::FeatureSet::images`].
    pub embeddings: Vec<Vec<f32>>,
    /// [`crate::FeatureSet::styles`].
    pub styles: Vec<Vec<f32>>,
}

/// Features of images and texts, in the same order of (prompt, seed) for every role.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeasureRequest {
    /// Index of the prompt of each image.
    pub prompts: Vec<u32>,
    /// Features of the prompts in plain words, one for each image.
    pub texts: Vec<Vec<f32>>,
    /// The version's images.
    pub challenger: Seen,
    /// The base model's.
    pub base: Seen,
    /// The champion's; empty without one.
    pub champion: Seen,
    /// The version's images of prompts without the trigger word.
    pub untriggered: Seen,
    /// Held-out images of the dataset.
    pub held_out: Seen,
    /// What tests of copying need.
    pub copying: Option<CopyingRequest>,
}

/// Maps of features for tests of copying.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CopyingRequest {
    /// The version's images of training captions.
    pub captions: Vec<Vec<f32>>,
    /// The base model's images of the same captions and seeds.
    pub base_captions: Vec<Vec<f32>>,
    /// Of each of them, the place of the caption's own image among the training images.
    pub own: Vec<usize>,
    /// Training images.
    pub training: Vec<Vec<f32>>,
    /// Held-out images.
    pub held_out: Vec<Vec<f32>>,
}

/// Metrics of a request. What could not be computed is empty or absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurements {
    /// CLIPScore of each image: challenger, base, champion.
    pub clip_scores: [Vec<f64>; 3],
    /// Style margin of each image: challenger, base, champion.
    pub style_margins: [Vec<f64>; 3],
    /// The mean style margin of the held-out images themselves; `None` with fewer than two.
    pub style_goal: Option<f64>,
    /// Metrics of all images together, by name.
    pub metrics: BTreeMap<String, f64>,
    /// Tests of copying.
    pub copying: Option<CopyingMeasurements>,
}

/// Results of the tests of copying.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CopyingMeasurements {
    /// z of the data-copying test; `None` without held-out images.
    pub z: Option<f64>,
    /// Of each image of a caption, whether the caption's own image is the nearest.
    pub own_nearest: Vec<bool>,
    /// The same of the base's images.
    pub base_own_nearest: Vec<bool>,
    /// Of each image of a caption, by how much it is nearer to the caption's own image than the base's image is, and by how
    /// much the own image itself is; what is common to all training images is taken off.
    pub approach: Vec<(f64, f64)>,
    /// Of each image of a caption, the nearest training image and the cosine of their maps.
    pub nearest: Vec<(usize, f64)>,
}
