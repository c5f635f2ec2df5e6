//! Copying: by ranks of distances, and by whose training image is the nearest.

use std::collections::BTreeMap;

use adire_protocol::VerdictOutcome;
use statrs::distribution::{Binomial, DiscreteCDF};

use super::{CopyingEvidence, Criterion, CriterionKind, Evidence, not_scored};
use crate::evaluation::{policy::Policy, statistics::t_interval};

/// Fewest captions by which the way to training images is judged.
const FEWEST_CAPTIONS: usize = 3;
/// Fewest images by which a single caption is judged.
const FEWEST_IMAGES: usize = 3;
/// The share of captions of several images each from which on copies fail.
const COPIED_CAPTIONS: f64 = 0.25;

pub(super) fn criterion(evidence: &Evidence, policy: &Policy) -> Criterion {
    let settings = &policy.copying;
    let verdict = |outcome, reason| Criterion::new(CriterionKind::Copying, settings.muted, outcome, reason);
    let Some(found) = &evidence.copying else {
        return verdict(VerdictOutcome::Inconclusive, not_scored(evidence.lacks.copying.as_ref()));
    };
    let images = found.own_nearest.len().min(found.base_own_nearest.len());
    let share = |own: &[bool]| own[..images].iter().filter(|own| **own).count() as f64 / images.max(1) as f64;
    let (own, base_own) = (share(&found.own_nearest), share(&found.base_own_nearest));
    let p = mcnemar(&found.own_nearest, &found.base_own_nearest);
    let level = 1.0 - policy.confidence;
    let threshold = |value, threshold, criterion| Criterion {
        value: Some(value),
        threshold: Some(threshold),
        ..criterion
    };
    if let Some(z) = found.z.filter(|z| *z <= settings.z) {
        let reason = format!(
            "Images are nearer to training images than {} held-out images are (z {z:.1}, limit {:.1}).",
            found.held_out, settings.z
        );
        return threshold(z, settings.z, verdict(VerdictOutcome::Fail, reason));
    }
    if own >= settings.own_image_rate && p <= level {
        let reason = format!(
            "{:.0}% of {images} images from training captions are nearest to that caption's own image; {:.0}% of the \
             base model's.",
            100.0 * own,
            100.0 * base_own
        );
        let failed = threshold(own, settings.own_image_rate, verdict(VerdictOutcome::Fail, reason));
        return Criterion { p: Some(p), ..failed };
    }
    let copied = Copied::of(found, settings.copied_share, policy.confidence);
    if let Some(copied) = copied.as_ref().filter(|copied| copied.verdict == Some(true)) {
        let failed = verdict(VerdictOutcome::Fail, copied.sentence(settings.copied_share));
        return threshold(copied.share, settings.copied_share, failed);
    }
    // A test that could not have failed, whatever the images, shows nothing.
    let smallest_z = smallest_z(found.generated, found.held_out);
    let ranks = found.z.is_some() && smallest_z <= settings.z;
    let shares = match images {
        0 => String::new(),
        _ => format!(
            " {:.0}% of {images} images from training captions are nearest to that caption's own image; {:.0}% of the base \
             model's.",
            100.0 * own,
            100.0 * base_own
        ),
    };
    match (found.z, copied) {
        (Some(z), _) if ranks => {
            let reason = format!(
                "Images are not nearer to training images than {} held-out images are (z {z:.1}, limit {:.1}).{shares}",
                found.held_out, settings.z
            );
            threshold(z, settings.z, verdict(VerdictOutcome::Pass, reason))
        }
        (_, Some(copied)) => {
            let outcome =
                if copied.verdict.is_some() { VerdictOutcome::Pass } else { VerdictOutcome::Inconclusive };
            let sentence = copied.sentence(settings.copied_share);
            let reason = format!(
                "{sentence} There are too few held-out images ({}) for the rank test.{shares}",
                found.held_out
            );
            threshold(copied.share, settings.copied_share, verdict(outcome, reason))
        }
        _ => {
            let reason = format!(
                "Too few images to tell: {images} from training captions, {} held out.",
                found.held_out
            );
            verdict(VerdictOutcome::Inconclusive, reason)
        }
    }
}

/// How much of the way to the training images has been covered.
struct Copied {
    /// Over all captions.
    share: f64,
    images: usize,
    captions: usize,
    /// Captions of several images whose own have surely covered more than the limit.
    copied: usize,
    /// Whether they count as copies; `None`: neither is sure.
    verdict: Option<bool>,
}

impl Copied {
    /// `None`: too few captions for an interval.
    fn of(found: &CopyingEvidence, limit: f64, confidence: f64) -> Option<Self> {
        let way: f64 = found.approach.iter().map(|each| each.way).sum();
        let mut over: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for each in &found.approach {
            over.entry(each.caption).or_default().push(each.gain - limit * each.way);
        }
        let captions = over.len();
        if way <= 0.0 || captions == 0 {
            return None;
        }
        let mut copied = 0;
        let verdict;
        if over.values().all(|images| images.len() >= FEWEST_IMAGES) {
            // Each caption by itself: one copy among honest images is a copy. Its bound allows for their number.
            let confidence = 1.0 - (1.0 - confidence) / captions as f64;
            let intervals = || over.values().filter_map(|images| t_interval(images, confidence));
            copied = intervals().filter(|interval| interval.lower > 0.0).count();
            let honest = intervals().filter(|interval| interval.upper < 0.0).count();
            verdict = if (copied as f64) >= (COPIED_CAPTIONS * captions as f64).max(1.0) {
                Some(true)
            } else {
                (copied == 0 && honest as f64 >= (1.0 - COPIED_CAPTIONS) * captions as f64).then_some(false)
            };
        } else {
            // The caption is the unit: its images are not independent.
            let means: Vec<f64> =
                over.values().map(|images| images.iter().sum::<f64>() / images.len() as f64).collect();
            let interval = t_interval(&means, confidence).filter(|_| captions >= FEWEST_CAPTIONS)?;
            verdict = match interval {
                _ if interval.lower > 0.0 => Some(true),
                _ if interval.upper < 0.0 => Some(false),
                _ => None,
            };
        }
        let share = found.approach.iter().map(|each| each.gain).sum::<f64>() / way;
        Some(Self { share, images: found.approach.len(), captions, copied, verdict })
    }

    fn sentence(&self, limit: f64) -> String {
        let (share, limit) = (100.0 * self.share, 100.0 * limit);
        let mut sentence = format!(
            "{} images from {} training captions have come {share:.0}% of the way from the base model's to the training \
             images themselves (limit {limit:.0}%)",
            self.images, self.captions
        );
        if self.copied > 0 {
            let surely = format!("; those of {} captions surely above it", self.copied);
            sentence.push_str(&surely);
        }
        sentence + "."
    }
}

/// The smallest z of the rank test: every generated image nearer than every held-out one.
fn smallest_z(generated: usize, held_out: usize) -> f64 {
    let (m, n) = (generated as f64, held_out as f64);
    -(3.0 * m * n / (m + n + 1.0)).sqrt()
}

/// The exact one-sided p of `McNemar`'s test that `ours` is true no more often than `theirs`, pair by pair.
fn mcnemar(ours: &[bool], theirs: &[bool]) -> f64 {
    let only = |wanted: (bool, bool)| {
        ours.iter().zip(theirs).filter(|(ours, theirs)| (**ours, **theirs) == wanted).count() as u64
    };
    let (gained, lost) = (only((true, false)), only((false, true)));
    let at_least = |binomial: Binomial| if gained == 0 { 1.0 } else { binomial.sf(gained - 1) };
    Binomial::new(0.5, gained + lost).map_or(1.0, at_least)
}
