//! Paired comparisons: the prompt is the unit.

use adire_protocol::VerdictOutcome;

use super::{Criterion, CriterionKind, Paired, PromptPair, Score};
use crate::evaluation::statistics::{
    EXACT_BELOW, FEWEST_PROMPTS, Interval, prompt_means, sign_flip, t_interval,
};

/// A paired comparison of prompt means with a threshold.
pub(super) struct Comparison {
    pub(super) outcome: VerdictOutcome,
    interval: Option<Interval>,
    threshold: f64,
    p: Option<f64>,
}

impl Comparison {
    /// Whether the mean of challenger − reference is above `threshold` (pass), below it (fail), or neither is shown.
    pub(super) fn new(pairs: &[PromptPair], threshold: f64, confidence: f64) -> Self {
        let differences: Vec<f64> = pairs.iter().map(|pair| pair.challenger - pair.reference).collect();
        let interval = t_interval(&differences, confidence);
        let shifted: Vec<f64> = differences.iter().map(|difference| difference - threshold).collect();
        let mirrored: Vec<f64> = shifted.iter().map(|difference| -difference).collect();
        let level = 1.0 - confidence;
        let (above, below, p) = match &interval {
            Some(_) if (FEWEST_PROMPTS..EXACT_BELOW).contains(&pairs.len()) => {
                let (above, below) =
                    (sign_flip(&shifted).unwrap_or(1.0), sign_flip(&mirrored).unwrap_or(1.0));
                (above <= level, below <= level, Some(above.min(below)))
            }
            Some(interval) if pairs.len() >= EXACT_BELOW => {
                (interval.lower > threshold, interval.upper < threshold, None)
            }
            _ => (false, false, None),
        };
        let outcome = match (above, below) {
            (true, false) => VerdictOutcome::Pass,
            (false, true) => VerdictOutcome::Fail,
            _ => VerdictOutcome::Inconclusive,
        };
        Self { outcome, interval, threshold, p }
    }

    /// The sentence, unless there are too few prompts for one.
    pub(super) fn reason(&self, sentence: impl FnOnce(Interval) -> String) -> String {
        match self.interval {
            Some(interval) if interval.prompts >= FEWEST_PROMPTS => sentence(interval),
            found => format!(
                "Scored on {} of the {FEWEST_PROMPTS} prompts that a verdict needs at least.",
                found.map_or(0, |interval| interval.prompts)
            ),
        }
    }

    pub(super) fn criterion(
        &self,
        kind: CriterionKind,
        muted: bool,
        reason: String,
        prompts: Vec<PromptPair>,
    ) -> Criterion {
        Criterion {
            value: self.interval.map(|interval| interval.mean),
            bounds: self.interval.map(|interval| (interval.lower, interval.upper)),
            threshold: Some(self.threshold),
            p: self.p,
            prompts,
            ..Criterion::new(kind, muted, self.outcome, reason)
        }
    }
}

/// The means of prompts over the seeds that both sides have, in the order of the suite.
pub(super) fn pairs(scores: &Paired) -> Vec<PromptPair> {
    let matched: Vec<(Score, Score)> = scores
        .challenger
        .iter()
        .filter_map(|ours| {
            let same = |theirs: &&Score| (theirs.prompt, theirs.seed) == (ours.prompt, ours.seed);
            Some((*ours, *scores.reference.iter().find(same)?))
        })
        .filter(|(ours, theirs)| ours.value.is_finite() && theirs.value.is_finite())
        .collect();
    let mut prompts: Vec<usize> = Vec::new();
    for (ours, _) in &matched {
        if !prompts.contains(&ours.prompt) {
            prompts.push(ours.prompt);
        }
    }
    let means = |side: fn(&(Score, Score)) -> Score| -> Vec<f64> {
        let scores: Vec<(usize, f64)> =
            matched.iter().map(side).map(|score| (score.prompt, score.value)).collect();
        prompt_means(&scores)
    };
    let both = means(|pair| pair.0).into_iter().zip(means(|pair| pair.1));
    let mut pairs: Vec<PromptPair> = prompts
        .into_iter()
        .zip(both)
        .map(|(prompt, (challenger, reference))| PromptPair { prompt, challenger, reference })
        .collect();
    pairs.sort_by_key(|pair| pair.prompt);
    pairs
}

pub(super) fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}
