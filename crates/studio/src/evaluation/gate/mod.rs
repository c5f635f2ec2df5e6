//! The gate: from scores to a verdict. Pure; knows no rows, images or models.
//!
//! Every criterion is pass, fail or inconclusive. All that are not muted must pass, so none needs a correction for their
//! number (an intersection–union test). Too little data is inconclusive, never a failure.

mod compare;
mod copying;
mod floors;
mod people;
#[cfg(test)]
mod tests;

use adire_protocol::VerdictOutcome;
use serde::{Deserialize, Serialize};

use self::compare::{Comparison, mean, pairs};
use super::{people::Votes, policy::Policy, statistics::Interval};

/// Prompts that are rendered before the next look at whether going on is futile.
pub const BLOCK: usize = 6;

/// What a criterion is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CriterionKind {
    /// The file loads, has an effect, and gives usable images in time.
    Floors,
    /// Prompts are followed no worse than by the base, within the margin.
    Adherence,
    /// The mean CLIPScore reaches an absolute value.
    ClipScoreFloor,
    /// Nearer to the style than the champion, or than the base.
    Style,
    /// No training images are copied.
    Copying,
    /// People prefer it in blind votes.
    People,
}

/// A criterion with its verdict and the numbers that it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Criterion {
    /// What it is about.
    pub kind: CriterionKind,
    /// Its verdict.
    pub outcome: VerdictOutcome,
    /// Whether it is only shown.
    pub muted: bool,
    /// One sentence with the numbers.
    pub reason: String,
    /// The number that is compared: a mean difference, a share, a z.
    pub value: Option<f64>,
    /// The one-sided bounds of `value`.
    pub bounds: Option<(f64, f64)>,
    /// What the lower bound, or `value` if it has none, is compared with.
    pub threshold: Option<f64>,
    /// The exact p of the test that decided, if it was no t interval.
    pub p: Option<f64>,
    /// The prompts behind a paired comparison.
    pub prompts: Vec<PromptPair>,
}

/// The means of one prompt.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptPair {
    /// Its place in the suite.
    pub prompt: usize,
    /// The challenger's mean score.
    pub challenger: f64,
    /// The mean score of the base or champion.
    pub reference: f64,
}

/// All criteria, and what they come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Fail if one fails, else inconclusive if one is, else pass.
    pub outcome: VerdictOutcome,
    /// In a fixed order.
    pub criteria: Vec<Criterion>,
}

/// One score of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The prompt's place in the suite.
    pub prompt: usize,
    /// The seed.
    pub seed: u64,
    /// The metric's value.
    pub value: f64,
}

/// What is known of a challenger so far. What has not been computed is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// What floors are about.
    pub floors: FloorEvidence,
    /// The challenger's and the base's CLIPScores.
    pub adherence: Option<Paired>,
    /// The challenger's and the champion's (or base's) style margins.
    pub style: Option<Paired>,
    /// The mean style margin of the held-out images themselves.
    pub style_goal: Option<f64>,
    /// Tests of copying.
    pub copying: Option<CopyingEvidence>,
    /// Names the champion that style is compared with; `None`: the base.
    pub champion: Option<String>,
    /// The judge's name, for sentences.
    pub judge: String,
    /// Why something cannot be tested at all.
    pub lacks: Lacks,
    /// Blind votes between it and the champion, or the base; `None`: nobody has voted.
    pub people: Option<Votes>,
}

/// Why a criterion cannot be tested, in one sentence each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// Of style.
    pub style: Option<String>,
    /// Of copying.
    pub copying: Option<String>,
}

/// What has not been scored, or cannot be.
fn not_scored(lacks: Option<&String>) -> String {
    lacks.cloned().unwrap_or_else(|| "Not scored yet.".to_owned())
}

/// Scores of the same prompts and seeds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Paired {
    /// The challenger's.
    pub challenger: Vec<Score>,
    /// The base's or the champion's.
    pub reference: Vec<Score>,
}

/// What floors are about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloorEvidence {
    /// Layers that the adapter changes, from the receipt; `None`: not known.
    pub applied_layers: Option<usize>,
    /// Images that were to be rendered with the version.
    pub images: usize,
    /// Of these, those that ended in an error.
    pub failed: usize,
    /// Of these, those of one colour (NaN gives black).
    pub flat: usize,
    /// Of these, those whose text and seed the base was rendered with, too.
    pub compared: usize,
    /// Of these, those that equal the base's byte for byte.
    pub unchanged: usize,
    /// Seconds of each rendered image.
    pub seconds: Vec<f64>,
}

/// Tests of copying.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CopyingEvidence {
    /// z of the data-copying test; `None`: no held-out images.
    pub z: Option<f64>,
    /// Images generated from training captions that it rests on.
    pub generated: usize,
    /// Held-out images that it rests on.
    pub held_out: usize,
    /// Of each image from a training caption, whether that caption's own image is the nearest: the challenger's.
    pub own_nearest: Vec<bool>,
    /// The same of the base's images of the same captions and seeds.
    pub base_own_nearest: Vec<bool>,
    /// How near each of these images has come to its caption's own.
    pub approach: Vec<Approach>,
}

/// How near an image has come to its caption's own training image, what is common to all of them taken off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Approach {
    /// The caption's place.
    pub caption: u32,
    /// By how much it is nearer than the base's image.
    pub gain: f64,
    /// By how much the training image itself is.
    pub way: f64,
}

/// The verdict on a challenger.
pub fn judge(evidence: &Evidence, policy: &Policy) -> Verdict {
    let mut criteria = vec![floors::criterion(evidence, policy), adherence(evidence, policy)];
    criteria.extend(clip_score_floor(evidence, policy));
    criteria.push(style(evidence, policy));
    criteria.push(copying::criterion(evidence, policy));
    criteria.extend(people::criterion(evidence, policy));
    Verdict { outcome: overall(&criteria), criteria }
}

/// After a block of prompts: the first criterion that counts and has failed already, so that rendering the rest is futile.
pub fn futile(evidence: &Evidence, policy: &Policy) -> Option<Criterion> {
    let counts = |criterion: &Criterion| !criterion.muted && criterion.outcome == VerdictOutcome::Fail;
    judge(evidence, policy).criteria.into_iter().find(counts)
}

fn overall(criteria: &[Criterion]) -> VerdictOutcome {
    let counting = || criteria.iter().filter(|criterion| !criterion.muted).map(|criterion| criterion.outcome);
    if counting().any(|outcome| outcome == VerdictOutcome::Fail) {
        VerdictOutcome::Fail
    } else if counting().next().is_none() || counting().any(|outcome| outcome == VerdictOutcome::Inconclusive)
    {
        VerdictOutcome::Inconclusive
    } else {
        VerdictOutcome::Pass
    }
}

impl Criterion {
    fn new(kind: CriterionKind, muted: bool, outcome: VerdictOutcome, reason: String) -> Self {
        Self {
            kind,
            outcome,
            muted,
            reason,
            value: None,
            bounds: None,
            threshold: None,
            p: None,
            prompts: Vec::new(),
        }
    }
}

fn adherence(evidence: &Evidence, policy: &Policy) -> Criterion {
    let (kind, settings) = (CriterionKind::Adherence, &policy.adherence);
    let Some(pairs) = evidence.adherence.as_ref().map(pairs) else {
        return Criterion::new(
            kind,
            settings.muted,
            VerdictOutcome::Inconclusive,
            "Not scored yet.".to_owned(),
        );
    };
    let base = mean(pairs.iter().map(|pair| pair.reference));
    let margin = settings.margin * base.max(0.0);
    let comparison = Comparison::new(&pairs, -margin, policy.confidence);
    let share = |difference: f64| if base > 0.0 { 100.0 * difference / base } else { 0.0 };
    let reason = comparison.reason(|Interval { mean, lower, prompts, .. }| {
        let (mean, lower, margin) = (share(mean), share(lower), 100.0 * settings.margin);
        match comparison.outcome {
            VerdictOutcome::Pass => format!(
                "CLIPScore is {mean:+.1}% of the base's over {prompts} prompts, at least {lower:+.1}%; \
                 {margin:.0}% may be lost."
            ),
            VerdictOutcome::Fail => format!(
                "CLIPScore is {mean:+.1}% of the base's over {prompts} prompts; only {margin:.0}% may be lost."
            ),
            VerdictOutcome::Inconclusive => format!(
                "CLIPScore is {mean:+.1}% of the base's over {prompts} prompts, but may be as low as {lower:+.1}%; \
                 {margin:.0}% may be lost."
            ),
        }
    });
    comparison.criterion(kind, settings.muted, reason, pairs)
}

fn clip_score_floor(evidence: &Evidence, policy: &Policy) -> Option<Criterion> {
    let (kind, settings) = (CriterionKind::ClipScoreFloor, &policy.adherence);
    let floor = settings.clip_score_floor?;
    let muted = settings.clip_score_floor_muted.unwrap_or(settings.muted);
    let Some(pairs) = evidence.adherence.as_ref().map(pairs) else {
        let reason = "Not scored yet.".to_owned();
        return Some(Criterion::new(kind, muted, VerdictOutcome::Inconclusive, reason));
    };
    // Compared with zero, a pair's difference is the score itself.
    let scores: Vec<PromptPair> = pairs.iter().map(|pair| PromptPair { reference: 0.0, ..*pair }).collect();
    let comparison = Comparison::new(&scores, floor, policy.confidence);
    let reason = comparison.reason(|Interval { mean, lower, upper, .. }| {
        format!(
            "CLIPScore by {} is {mean:.3} ({lower:.3} to {upper:.3}); {floor} is required.",
            evidence.judge
        )
    });
    Some(comparison.criterion(kind, muted, reason, scores))
}

fn style(evidence: &Evidence, policy: &Policy) -> Criterion {
    let (kind, muted) = (CriterionKind::Style, policy.style.muted);
    let Some(pairs) = evidence.style.as_ref().map(pairs) else {
        let reason = not_scored(evidence.lacks.style.as_ref());
        return Criterion::new(kind, muted, VerdictOutcome::Inconclusive, reason);
    };
    let reference = evidence.champion.as_deref().unwrap_or("the base model");
    let numbers = |Interval { mean, lower, upper, prompts }: Interval| {
        format!("style margin {mean:+.3}, {lower:+.3} to {upper:+.3}, over {prompts} prompts")
    };
    let above_zero = Comparison::new(&pairs, 0.0, policy.confidence);
    if above_zero.outcome == VerdictOutcome::Inconclusive {
        // How far the reference is from the style; nothing once it is there.
        let way = evidence.style_goal.map(|goal| goal - mean(pairs.iter().map(|pair| pair.reference)));
        let smallest = way.map(|way| policy.style.smallest_gain * way).filter(|gain| *gain > 0.0);
        let too_little = smallest.map(|gain| Comparison::new(&pairs, gain, policy.confidence));
        if let Some(comparison) = too_little.filter(|found| found.outcome == VerdictOutcome::Fail) {
            let share = 100.0 * policy.style.smallest_gain;
            let reason = comparison.reason(|found| {
                format!(
                    "No nearer to the style than {reference}: {}. It gains less than {share:.0}% of the way to the \
                     held-out images.",
                    numbers(found)
                )
            });
            return comparison.criterion(kind, muted, reason, pairs);
        }
    }
    let reason = above_zero.reason(|found| {
        let numbers = numbers(found);
        match above_zero.outcome {
            VerdictOutcome::Pass => format!("Nearer to the style than {reference}: {numbers}."),
            VerdictOutcome::Fail => format!("Farther from the style than {reference}: {numbers}."),
            VerdictOutcome::Inconclusive => {
                format!("No clear difference in style from {reference}: {numbers}.")
            }
        }
    });
    above_zero.criterion(kind, muted, reason, pairs)
}
