//! Style: how much nearer images are to held-out images of the style than to the base's images.
//!
//! Raw cosines of style features are not absolute scores (arXiv 2605.09030), so nearness is measured against the base's
//! images of the same prompts, after centring on their mean.

use super::{
    Direction, Features, Metric,
    features::{dot, mean},
};

/// The metric that [`Style::margins`] computes.
pub const STYLE_MARGIN: Metric = Metric {
    name: "style_margin",
    about: "Nearness to held-out images of the dataset minus nearness to the base model's images.",
    unit: "",
    range: (-2.0, 2.0),
    direction: Direction::Higher,
    revision: 1,
};

/// The metric that [`auc`] computes.
pub const STYLE_AUC: Metric = Metric {
    name: "style_auc",
    about: "The share of pairs in which an image has a larger style margin than an image of the base.",
    unit: "",
    range: (0.0, 1.0),
    direction: Direction::Higher,
    revision: 1,
};

/// The style margin of prompts without the trigger.
pub const LEAKAGE: Metric = Metric {
    name: "leakage",
    about: "The style margin of prompts without the trigger word: 0 if the style stays with its trigger.",
    unit: "",
    range: (-2.0, 2.0),
    direction: Direction::Reference,
    revision: 1,
};

/// The metric that [`Style::goal`] computes.
pub const STYLE_GOAL: Metric = Metric {
    name: "style_goal",
    about: "The mean style margin of the held-out images themselves: what a version can aim at.",
    unit: "",
    range: (-2.0, 2.0),
    direction: Direction::Reference,
    revision: 1,
};

/// What margins are measured against.
#[derive(Clone, Debug)]
pub struct Style {
    centre: Vec<f64>,
    held_out: Features,
    base: Features,
}

impl Style {
    /// `held_out`: images of the dataset that training did not see; `base`: the base model's images of the suite's prompts,
    /// both `n × d`. `None`: one of them is empty, or their widths differ.
    pub fn new(held_out: &Features, base: &Features) -> Option<Self> {
        if held_out.is_empty() || base.is_empty() || held_out.width() != base.width() {
            return None;
        }
        let centre = base.mean();
        let (held_out, base) = (held_out.directions(Some(&centre)), base.directions(Some(&centre)));
        Some(Self { centre, held_out, base })
    }

    /// Of each image, the mean cosine to the held-out images less the mean cosine to the base's, all centred on the base's
    /// mean. For the base's own images pass `own`: the one at the same place is left out, as it would be its own neighbour.
    pub fn margins(&self, images: &Features, own: bool) -> Vec<f64> {
        let images = images.directions(Some(&self.centre));
        let margin = |(index, image): (usize, &[f64])| {
            let near = nearness(image, &self.held_out, None).unwrap_or(0.0);
            near - nearness(image, &self.base, own.then_some(index)).unwrap_or(0.0)
        };
        images.rows().enumerate().map(margin).collect()
    }

    /// The mean margin of the held-out images, each against the others. `None` of a single one.
    pub fn goal(&self) -> Option<f64> {
        let margin = |(index, image): (usize, &[f64])| {
            Some(nearness(image, &self.held_out, Some(index))? - nearness(image, &self.base, None)?)
        };
        let margins: Vec<f64> = self.held_out.rows().enumerate().filter_map(margin).collect();
        mean(margins.into_iter())
    }
}

/// Mean cosine to all rows of `others` but one; `None` if there are none.
fn nearness(image: &[f64], others: &Features, but: Option<usize>) -> Option<f64> {
    let rows = others.rows().enumerate().filter(|(row, _)| Some(*row) != but);
    let cosines: Vec<f64> = rows.map(|(_, row)| dot(image, row)).collect();
    mean(cosines.into_iter())
}

/// The area under the ROC curve: the share of pairs with `a > b`, ties counted half (Mann–Whitney's U over the number of
/// pairs). `None` if one of them is empty.
pub fn auc(a: &[f64], b: &[f64]) -> Option<f64> {
    let pairs = a.len() * b.len();
    let wins: f64 = a
        .iter()
        .flat_map(|a| {
            b.iter().map(move |b| {
                if a > b {
                    1.0
                } else if a == b {
                    0.5
                } else {
                    0.0
                }
            })
        })
        .sum();
    (pairs > 0).then(|| wins / pairs as f64)
}
