//! Diversity: whether different seeds of one prompt still give different images.

use super::{
    Direction, Features, Metric,
    features::{cosine, mean},
};

/// The metric that [`diversity`] computes.
pub const DIVERSITY: Metric = Metric {
    name: "diversity",
    about: "How different the images of one prompt are between seeds: mean of 1 − cosine, over the base's.",
    unit: "",
    range: (0.0, f64::INFINITY),
    direction: Direction::Reference,
    revision: 1,
};

/// The mean of `1 − cos` over all pairs of rows, which are images of one prompt with different seeds. `None`: fewer than two.
pub fn diversity(images: &Features) -> Option<f64> {
    let rows: Vec<&[f64]> = images.rows().collect();
    let pairs: Vec<f64> = rows
        .iter()
        .enumerate()
        .flat_map(|(i, a)| rows[..i].iter().map(|b| 1.0 - cosine(a, b)).collect::<Vec<_>>())
        .collect();
    mean(pairs.into_iter())
}

/// The mean diversity of an adapter's prompts over the base's, prompt by prompt. `None`: no prompt has two images, or the
/// base's images are all the same.
pub fn relative_diversity(adapter: &[Features], base: &[Features]) -> Option<f64> {
    let both: Vec<(f64, f64)> =
        adapter.iter().zip(base).filter_map(|(a, b)| Some((diversity(a)?, diversity(b)?))).collect();
    let (adapter, base) = both.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
    (base > 0.0).then(|| adapter / base)
}
