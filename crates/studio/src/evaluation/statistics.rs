//! Statistics of paired scores. The unit is the prompt: images of one prompt are not independent, and counting them as if
//! they were makes false alarms of 7 to 14 % where 5 % are meant.

use statrs::{
    distribution::{ContinuousCDF, StudentsT},
    function::beta::ln_beta,
};

/// Fewest prompts by which a test can reject at 5 %, two-sided: of 2⁵ sign patterns one alone has 2/32.
pub const FEWEST_PROMPTS: usize = 6;
/// Fewer prompts than this are tested by all patterns of signs, not by t.
pub const EXACT_BELOW: usize = 12;

/// A mean of paired differences with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The mean difference.
    pub mean: f64,
    /// Lower end of the one-sided interval: the mean is above it with the given confidence.
    pub lower: f64,
    /// Upper end likewise.
    pub upper: f64,
    /// How many prompts it rests on.
    pub prompts: usize,
}

/// The means of each prompt's scores, in the order of their first appearance.
pub fn prompt_means<Prompt: PartialEq + Copy>(scores: &[(Prompt, f64)]) -> Vec<f64> {
    let mut sums: Vec<(Prompt, f64, f64)> = Vec::new();
    for (prompt, score) in scores {
        match sums.iter_mut().find(|(known, ..)| known == prompt) {
            Some((_, sum, count)) => (*sum, *count) = (*sum + score, *count + 1.0),
            None => sums.push((*prompt, *score, 1.0)),
        }
    }
    sums.into_iter().map(|(_, sum, count)| sum / count).collect()
}

/// Student's t interval of the mean of `differences`, one for each prompt; `confidence` is one-sided, for instance 0.95. `None`:
/// fewer than two.
pub fn t_interval(differences: &[f64], confidence: f64) -> Option<Interval> {
    let count = differences.len();
    let degrees = count.checked_sub(1).filter(|degrees| *degrees > 0)? as f64;
    let mean = differences.iter().sum::<f64>() / count as f64;
    let variance = differences.iter().map(|difference| (difference - mean).powi(2)).sum::<f64>() / degrees;
    let quantile = StudentsT::new(0.0, 1.0, degrees).ok()?.inverse_cdf(confidence);
    let half = quantile * (variance / count as f64).sqrt();
    Some(Interval { mean, lower: mean - half, upper: mean + half, prompts: count })
}

/// The one-sided p of the exact sign-flip test that the mean of `differences` is at most 0: the share of the 2ⁿ patterns of
/// signs whose mean is at least as large. `None`: no differences, or so many that patterns cannot be counted.
pub fn sign_flip(differences: &[f64]) -> Option<f64> {
    let count = differences.len();
    if count == 0 || count > 20 {
        return None;
    }
    let sum = |pattern: u32| -> f64 {
        let signed =
            |(i, difference): (usize, &f64)| if pattern >> i & 1 == 1 { -difference } else { *difference };
        differences.iter().enumerate().map(signed).sum()
    };
    let observed = sum(0);
    // Sums in another order differ by rounding.
    let tolerance = 1e-12 * differences.iter().map(|difference| difference.abs()).sum::<f64>();
    let as_large = (0..1_u32 << count).filter(|pattern| sum(*pattern) >= observed - tolerance).count();
    Some(as_large as f64 / f64::from(1_u32 << count))
}

/// The natural logarithm of the e-value against a tie after `wins` of `votes`: a beta-binomial mixture, valid whenever one
/// looks (Howard et al. 2021, arXiv 1810.08240). `ln e ≥ ln 20` rejects a tie at 5 %.
///
/// `e = 2ⁿ · B(1 + w, 1 + n − w) / B(1, 1)`.
pub fn ln_e_value(wins: u32, votes: u32) -> f64 {
    let (w, n) = (f64::from(wins.min(votes)), f64::from(votes));
    n * std::f64::consts::LN_2 + ln_beta(1.0 + w, 1.0 + n - w)
}

/// About how many more votes decide, if they go on as so far; `None`: they are too near to a tie to say.
pub fn votes_to_go(wins: u32, votes: u32) -> Option<u32> {
    const MAX_MORE_VOTES: u32 = 2_000;
    let decided = 20_f64.ln();
    if votes == 0 {
        return None;
    }
    let share = f64::from(wins) / f64::from(votes);
    (votes..votes + MAX_MORE_VOTES)
        .find(|n| ln_e_value((share * f64::from(*n)).round() as u32, *n) >= decided)
        .map(|n| n - votes)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect()
    }

    #[track_caller]
    fn near(ours: f64, theirs: f64) {
        assert!((ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0), "{ours} is not {theirs}");
    }

    #[test]
    fn statistics_equal_scipy() {
        let golden: Value = serde_json::from_str(include_str!("../../tests/statistics.json")).unwrap();
        let differences = numbers(&golden["differences"]);
        let theirs = numbers(&golden["t_interval"]);
        let interval = t_interval(&differences, 0.95).unwrap();
        near(interval.mean, theirs[0]);
        near(interval.lower, theirs[1]);
        near(interval.upper, theirs[2]);
        near(sign_flip(&differences).unwrap(), golden["sign_flip"].as_f64().unwrap());
        for vote in golden["votes"].as_array().unwrap() {
            let vote = numbers(vote);
            near(ln_e_value(vote[0] as u32, vote[1] as u32), vote[2]);
        }
    }

    #[test]
    fn the_fewest_prompts_that_can_decide_are_six() {
        // The smallest p, when every prompt is better.
        assert_eq!(sign_flip(&[1.0; 4]).unwrap(), 1.0 / 16.0);
        assert!(2.0 * sign_flip(&[1.0; FEWEST_PROMPTS]).unwrap() < 0.05);
        assert!(2.0 * sign_flip(&[1.0; FEWEST_PROMPTS - 1]).unwrap() > 0.05);
    }

    #[test]
    fn looking_after_every_vote_seldom_rejects_a_tie() {
        let mut state = 1_u64;
        let mut coin = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 63
        };
        let rejected = (0..1000)
            .filter(|_| {
                let mut wins = 0;
                (1..=200).any(|votes| {
                    wins += coin() as u32;
                    ln_e_value(wins, votes) >= 20_f64.ln()
                })
            })
            .count();
        assert!((5..=50).contains(&rejected), "{rejected} of 1000");
        assert_eq!((votes_to_go(9, 10), votes_to_go(12, 12)), (Some(2), Some(0)));
        assert!(votes_to_go(6, 10).unwrap() > 50);
        assert_eq!(votes_to_go(0, 0), None);
    }

    #[test]
    fn prompts_are_the_unit() {
        assert_eq!(prompt_means(&[("a", 1.0), ("b", 5.0), ("a", 2.0)]), [1.5, 5.0]);
        assert_eq!(t_interval(&[0.1], 0.95), None);
        assert_eq!(sign_flip(&[]), None);
        assert_eq!(sign_flip(&[0.1; 21]), None);
    }
}
