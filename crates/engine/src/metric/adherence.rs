//! Prompt adherence: CLIPScore (Hessel et al. 2021, arXiv 2104.08718).

use super::{Direction, Features, Metric, features::cosine};

/// The metric that [`clip_score`] computes.
pub const CLIP_SCORE: Metric = Metric {
    name: "clip_score",
    about: "How well images follow their prompts, by CLIP: 2.5 × the cosine of image and text, at least 0.",
    unit: "",
    range: (0.0, 2.5),
    direction: Direction::Higher,
    revision: 1,
};

/// `w = 2.5` of the paper, which spreads the usual cosines over 0 to 1.
const SCALE: f64 = 2.5;

/// `2.5 · max(cos(image, text), 0)` of each pair; torchmetrics' `clip_score` is 40 times that before its mean is clamped.
///
/// `images` and `texts` are the projected features (`image_embeds`, `text_embeds`) of one CLIP: `n × d` each, in the same
/// order.
///
/// # Panics
/// Never; surplus rows of the longer one are left out.
pub fn clip_score(images: &Features, texts: &Features) -> Vec<f64> {
    images.rows().zip(texts.rows()).map(|(image, text)| SCALE * cosine(image, text).max(0.0)).collect()
}
