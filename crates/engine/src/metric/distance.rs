//! Distances between two sets of images as U-statistics of the maximum mean discrepancy.
//!
//! Published code of CMMD uses the biased V-statistic, by which two samples of 20 images of one distribution are 0.40
//! apart; a U-statistic is 0 on average, so it may be slightly negative.

use super::{Direction, Features, Metric, features::dot};

/// The metric that [`cmmd`] computes.
pub const CMMD: Metric = Metric {
    name: "cmmd",
    about: "Distance between two sets of images: 1000 × MMD² of CLIP features with a Gaussian kernel, unbiased.",
    unit: "",
    range: (-1000.0, 2000.0),
    direction: Direction::Lower,
    revision: 1,
};

/// The metric that [`kid`] computes.
pub const KID: Metric = Metric {
    name: "kid",
    about: "Distance between two sets of images: MMD² of image features with a cubic kernel, unbiased.",
    unit: "",
    range: (f64::NEG_INFINITY, f64::INFINITY),
    direction: Direction::Lower,
    revision: 1,
};

/// The kernel's bandwidth in CMMD (Jayasumana et al. 2024, arXiv 2401.09603).
const SIGMA: f64 = 10.0;
/// Its authors' factor, for legible numbers.
const SCALE: f64 = 1000.0;

/// `1000 · MMD²` with `k(x, y) = exp(−‖x − y‖² / 2σ²)`, `σ = 10`, of features scaled to length 1; the U-statistic. `None`:
/// fewer than two rows in one of the sets, or different widths.
///
/// On vectors of length 1 so wide a kernel is nearly linear: the result is `10 · ‖mean(x) − mean(y)‖²` to within half a
/// percent, less its bias.
pub fn cmmd(x: &Features, y: &Features) -> Option<f64> {
    let kernel = |a: &[f64], b: &[f64]| {
        let distance: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
        (-distance / (2.0 * SIGMA * SIGMA)).exp()
    };
    mmd(&x.directions(None), &y.directions(None), kernel).map(|mmd| SCALE * mmd)
}

/// `MMD²` with `k(x, y) = (x·y / d + 1)³` (Bińkowski et al. 2018, arXiv 1801.01401), the U-statistic over all rows: subsets,
/// as in torch-fidelity, serve thousands of images. `None` as for [`cmmd`].
pub fn kid(x: &Features, y: &Features) -> Option<f64> {
    let width = x.width() as f64;
    mmd(x, y, |a, b| (dot(a, b) / width + 1.0).powi(3))
}

fn mmd(x: &Features, y: &Features, kernel: impl Fn(&[f64], &[f64]) -> f64) -> Option<f64> {
    if x.len() < 2 || y.len() < 2 || x.width() != y.width() {
        return None;
    }
    let within = |set: &Features| {
        let rows: Vec<&[f64]> = set.rows().collect();
        let pairs: f64 = rows
            .iter()
            .enumerate()
            .flat_map(|(i, a)| rows[..i].iter().map(|b| kernel(a, b)).collect::<Vec<_>>())
            .sum();
        let count = rows.len() as f64;
        2.0 * pairs / (count * (count - 1.0))
    };
    let between: f64 = x.rows().flat_map(|a| y.rows().map(|b| kernel(a, b)).collect::<Vec<_>>()).sum();
    Some(within(x) + within(y) - 2.0 * between / (x.len() * y.len()) as f64)
}
