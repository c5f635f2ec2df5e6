//! Percentiles by nearest rank: the smallest value that at least that share of all values does not exceed.

use adire_protocol::Percentiles;

/// The value at a share (0 to 1) of sorted values; `None` without any.
fn nearest_rank(sorted: &[i64], share: f64) -> Option<i64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// Percentiles of milliseconds, in seconds; `None` without any. The values are sorted on the way.
pub(crate) fn percentiles(values: &mut [i64]) -> Option<Percentiles> {
    // Stable: it merges stretches that are sorted already.
    values.sort();
    let seconds = |share| nearest_rank(values, share).map(|ms| ms as f64 / 1e3);
    Some(Percentiles {
        count: values.len() as u64,
        p50: seconds(0.5)?,
        p95: seconds(0.95)?,
        p99: seconds(0.99)?,
        max: seconds(1.0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_definition() {
        let sorted: Vec<i64> = (1..=100).collect();
        for (share, value) in [(0.0, 1), (0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100)] {
            assert_eq!(nearest_rank(&sorted, share), Some(value));
        }
        assert_eq!(nearest_rank(&[7], 0.95), Some(7));
        assert_eq!(nearest_rank(&[], 0.5), None);
        assert_eq!(percentiles(&mut []), None);
        let found = percentiles(&mut [3_000, 1_000, 2_000]).unwrap();
        assert_eq!((found.count, found.p50, found.p95, found.max), (3, 2.0, 3.0, 3.0));
    }
}
