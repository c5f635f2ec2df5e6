//! Memorisation: whether images are copies of training images. Thresholds on similarity fail inside one uniform style, so
//! both tests compare: with held-out images, and with the base model.

use super::{Direction, Features, Metric, features::cosine};

/// The metric that [`data_copying`] computes.
pub const DATA_COPYING: Metric = Metric {
    name: "data_copying",
    about: "Whether images are nearer to training images than held-out images are: z of a rank test, copying below −3.",
    unit: "standard deviations",
    range: (f64::NEG_INFINITY, f64::INFINITY),
    direction: Direction::Higher,
    revision: 1,
};

/// The metric that [`own_image_nearest`] computes.
pub const OWN_IMAGE_NEAREST: Metric = Metric {
    name: "own_image_nearest",
    about: "The share of training captions whose image has that caption's training image as the nearest.",
    unit: "",
    range: (0.0, 1.0),
    direction: Direction::Reference,
    revision: 1,
};

/// The metric that [`approach`] computes.
pub const COPIED_SHARE: Metric = Metric {
    name: "copied_share",
    about: "How much of the way from the base's images of training captions to those captions' own training images has been \
            covered: 1 for copies.",
    unit: "",
    range: (f64::NEG_INFINITY, 1.0),
    direction: Direction::Lower,
    revision: 1,
};

/// How near an image of a training caption has come to that caption's own training image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Approach {
    /// By how much it is nearer than the base's image.
    pub gain: f64,
    /// By how much the training image itself is.
    pub way: f64,
}

/// What [`data_copying`] found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DataCopying {
    /// Mann–Whitney's U of the generated images' distances, standardised: about 0 without copying, far below with it.
    pub z: f64,
    /// The probability that a generated image is farther from its nearest training image than a held-out one is.
    pub auc: f64,
}

/// The data-copying test `C_T` (Meehan et al. 2020, arXiv 2004.05675), with one cell: are the distances of generated images to
/// their nearest training image smaller than those of held-out images? Distances are `1 − cos`; ties are corrected for.
/// Rows: feature maps of one image each. `None`: one of the sets is empty.
pub fn data_copying(generated: &Features, held_out: &Features, training: &Features) -> Option<DataCopying> {
    let distances = |images: &Features| -> Option<Vec<f64>> {
        images.rows().map(|row| nearest(row, training).map(|(_, cosine)| 1.0 - cosine)).collect()
    };
    let (generated, held_out) = (distances(generated)?, distances(held_out)?);
    let auc = super::style::auc(&generated, &held_out)?;
    let (m, n) = (generated.len() as f64, held_out.len() as f64);
    let mut all: Vec<f64> = generated.into_iter().chain(held_out).collect();
    all.sort_by(f64::total_cmp);
    let ties: f64 =
        all.chunk_by(|a, b| a == b).map(|tie| (tie.len() as f64).powi(3) - tie.len() as f64).sum();
    let total = m + n;
    let variance = m * n / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)));
    // All distances equal: neither set is nearer.
    let z = if variance > 0.0 { (auc * m * n - m * n / 2.0) / variance.sqrt() } else { 0.0 };
    Some(DataCopying { z, auc })
}

/// Of images generated from the captions of training images, whether each has its own caption's training image as the
/// nearest one. `own`: of each generated image, the row of that training image.
pub fn own_image_nearest(generated: &Features, own: &[usize], training: &Features) -> Vec<bool> {
    let is_own =
        |(row, own): (&[f64], &usize)| nearest(row, training).is_some_and(|(found, _)| found == *own);
    generated.rows().zip(own).map(is_own).collect()
}

/// Of images generated from the captions of training images, how near each has come to its own caption's. Nearness is the
/// cosine to that image less the mean cosine to the others, so that the style, which all of them share, adds nothing. `base`:
/// the base's images of the same captions and noise; `own`: of each, the row of the training image.
pub fn approach(generated: &Features, base: &Features, own: &[usize], training: &Features) -> Vec<Approach> {
    let nearness = |row: &[f64], own: usize| {
        let cosines: Vec<f64> = training.rows().map(|other| cosine(row, other)).collect();
        let others = cosines.iter().enumerate().filter(|(other, _)| *other != own).map(|(_, cosine)| cosine);
        let count = cosines.len().saturating_sub(1).max(1) as f64;
        cosines.get(own).map(|own| own - others.sum::<f64>() / count)
    };
    let rows = generated.rows().zip(base.rows()).zip(own);
    rows.filter_map(|((ours, theirs), own)| {
        let base = nearness(theirs, *own)?;
        let itself = nearness(training.rows().nth(*own)?, *own)?;
        Some(Approach { gain: nearness(ours, *own)? - base, way: itself - base })
    })
    .collect()
}

/// The nearest training image of a row and their cosine: what an evidence sheet shows.
pub fn nearest(row: &[f64], training: &Features) -> Option<(usize, f64)> {
    let cosines = training.rows().map(|other| cosine(row, other)).enumerate();
    cosines.max_by(|(_, a), (_, b)| a.total_cmp(b))
}
