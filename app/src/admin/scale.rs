//! Chart axes with round marks, and thinning of points.

/// An axis from `low` to `high` with marks at round numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) marks: Vec<f64>,
    /// Digits behind the point that tell the marks apart; `None`: powers of ten.
    digits: Option<usize>,
}

impl Axis {
    /// An axis that holds all `values`, with about `count` marks. Non-finite values are left out.
    pub(super) fn around(values: impl Iterator<Item = f64>, count: usize) -> Self {
        let (mut low, mut high) = values
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low <= high.abs().max(low.abs()) * 1e-9 {
            // One value alone: in the middle.
            let room = if high == 0.0 { 1.0 } else { high.abs() * 0.5 };
            (low, high) = (low - room, high + room);
        }
        let step = round_step((high - low) / count.max(1) as f64);
        let (first, last) = ((low / step).floor(), (high / step).ceil());
        let marks = (0..=(last - first) as usize).map(|index| (first + index as f64) * step).collect();
        let digits = if step < 1e-4 { None } else { Some((-step.log10().floor()).max(0.0) as usize) };
        Self { low: first * step, high: last * step, marks, digits }
    }

    /// Steps of a training run, from 0 to the last, with round marks.
    pub(super) fn of_steps(last: u32) -> Self {
        let last = f64::from(last.max(1));
        let step = round_step(last / 5.0).max(1.0);
        let marks = (0..=(last / step) as usize).map(|index| index as f64 * step).collect();
        Self { low: 0.0, high: last, marks, digits: Some(0) }
    }

    /// Position of a value: 0 at the low end, 1 at the high end, beyond them outside the range.
    pub(super) fn place(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// Text of a mark.
    pub(super) fn label(&self, mark: f64) -> String {
        match self.digits {
            _ if mark == 0.0 => "0".to_owned(),
            Some(digits) => format!("{mark:.digits$}"),
            None => scientific(mark),
        }
    }
}

/// `1e-4`, `2.5e-5`.
pub(super) fn scientific(value: f64) -> String {
    let text = format!("{value:.2e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let digits =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    format!("{digits}e{exponent}")
}

/// 1, 2 or 5 times a power of ten, not below `rough`.
fn round_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// About `most` points that look the same when drawn: the lowest and the highest of each stretch.
pub(super) fn thinned(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    if points.len() <= most {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil((most / 2).max(1));
    let mut kept = Vec::new();
    for part in points.chunks(stretch) {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (Some(low), Some(high)) = (part.iter().min_by(by_value), part.iter().max_by(by_value)) else {
            continue;
        };
        let (first, second) = if low.0 <= high.0 { (low, high) } else { (high, low) };
        kept.push(*first);
        if first != second {
            kept.push(*second);
        }
    }
    kept
}

/// Exponential moving average with factor `keep` (0 to 1) and bias correction for the first values.
pub(super) fn smoothed(points: &[(f64, f64)], keep: f64) -> Vec<(f64, f64)> {
    let (mut sum, mut weight) = (0.0, 0.0);
    points
        .iter()
        .map(|&(x, y)| {
            (sum, weight) = (keep * sum + (1.0 - keep) * y, keep * weight + (1.0 - keep));
            (x, sum / weight)
        })
        .collect()
}

/// The quantile at `share` (0 to 1) of the finite values.
pub(super) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted: Vec<_> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(((sorted.len() as f64 * share) as usize).min(sorted.len().checked_sub(1)?)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.marks.iter().map(|mark| axis.label(*mark)).collect()
    }

    #[test]
    fn marks_are_round_and_hold_all_values() {
        let axis = Axis::around([0.113, 0.187, f64::NAN].into_iter(), 4);
        assert_eq!(labels(&axis), ["0.10", "0.12", "0.14", "0.16", "0.18", "0.20"]);
        assert!((axis.place(0.15) - 0.5).abs() < 1e-9);
        assert_eq!(labels(&Axis::around([0.0, 1e-4].into_iter(), 2)), ["0", "5e-5", "1e-4"]);
        assert_eq!(labels(&Axis::around([3.0, 3.0].into_iter(), 3)), ["1", "2", "3", "4", "5"]);
        assert_eq!(
            labels(&Axis::around(std::iter::empty(), 2)),
            ["0.0", "0.5", "1.0"].map(|t| if t == "0.0" { "0" } else { t })
        );
    }

    #[test]
    fn steps_begin_at_nothing_and_end_at_the_last() {
        let axis = Axis::of_steps(800);
        assert_eq!(
            (labels(&axis), axis.high),
            (["0", "200", "400", "600", "800"].map(str::to_owned).to_vec(), 800.0)
        );
        assert_eq!(labels(&Axis::of_steps(3)), ["0", "1", "2", "3"]);
        assert_eq!(labels(&Axis::of_steps(0)), ["0", "1"]);
    }

    #[test]
    fn thinning_keeps_the_peaks() {
        let points: Vec<_> =
            (0..10_000).map(|x| (f64::from(x), if x == 4_321 { 9.0 } else { f64::from(x % 7) })).collect();
        let kept = thinned(&points, 300);
        assert!(kept.len() <= 302 && kept.contains(&(4_321.0, 9.0)), "{}", kept.len());
        assert!(kept.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order");
        assert_eq!(thinned(&points[..10], 300), points[..10]);
    }

    #[test]
    fn smoothing_begins_at_the_first_value_and_follows() {
        let calm = smoothed(&[(0.0, 2.0), (1.0, 4.0), (2.0, 4.0)], 0.5);
        assert_eq!(calm[0], (0.0, 2.0));
        assert!((calm[1].1 - 10.0 / 3.0).abs() < 1e-12);
        assert!(calm[2].1 > calm[1].1 && calm[2].1 < 4.0);
        assert_eq!(smoothed(&[], 0.9), []);
    }

    #[test]
    fn quantiles_leave_out_the_peaks() {
        let values: Vec<_> = (0..100).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.98), Some(98.0));
        assert_eq!(
            (quantile(&[], 0.5), quantile(&[f64::NAN], 0.5), quantile(&[1.0], 1.0)),
            (None, None, Some(1.0))
        );
    }
}
