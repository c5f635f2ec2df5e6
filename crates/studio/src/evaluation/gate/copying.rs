//! Copying: by ranks of distances, and by whose training image is the nearest.

use adire_protocol::VerdictOutcome;
use statrs::distribution::{Binomial, DiscreteCDF};

use super::{CopyingEvidence, Criterion, CriterionKind, Evidence};
use crate::evaluation::{
    policy::Policy,
    statistics::{prompt_means, t_interval},
};

/// Fewest captions by which the way to training images is judged.
const FEWEST_CAPTIONS: usize = 3;

pub(super) fn criterion(evidence: &Evidence, policy: &Policy) -> Criterion {
    let settings = &policy.copying;
    let verdict = |outcome, reason| Criterion::new(CriterionKind::Copying, settings.muted, outcome, reason);
    let Some(found) = &evidence.copying else {
        return verdict(VerdictOutcome::Inconclusive, "Not scored yet.".to_owned());
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
    if let Some(copied) = copied.filter(|copied| copied.above) {
        let failed = verdict(VerdictOutcome::Fail, copied.sentence(settings.copied_share));
        return threshold(copied.share, settings.copied_share, failed);
    }
    // A test that could not have failed, whatever the images, shows nothing.
    let smallest_z = smallest_z(found.generated, found.held_out);
    let ranks = found.z.is_some() && smallest_z <= settings.z;
    match found.z {
        Some(z) if ranks => {
            let reason = format!(
                "Images are not nearer to training images than {} held-out images are (z {z:.1}, limit {:.1}).",
                found.held_out, settings.z
            );
            threshold(z, settings.z, verdict(VerdictOutcome::Pass, reason))
        }
        _ if copied.is_some_and(|copied| copied.below) => {
            let sentence = copied.map(|copied| copied.sentence(settings.copied_share)).unwrap_or_default();
            let share = copied.map_or(0.0, |copied| copied.share);
            let reason = format!(
                "{sentence} There are too few held-out images ({}) for the rank test.",
                found.held_out
            );
            threshold(share, settings.copied_share, verdict(VerdictOutcome::Pass, reason))
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
#[derive(Clone, Copy)]
struct Copied {
    share: f64,
    images: usize,
    captions: usize,
    /// Surely more than the limit.
    above: bool,
    /// Surely less.
    below: bool,
}

impl Copied {
    /// `None`: too few captions for an interval.
    fn of(found: &CopyingEvidence, limit: f64, confidence: f64) -> Option<Self> {
        let way: f64 = found.approach.iter().map(|each| each.way).sum();
        if way <= 0.0 {
            return None;
        }
        // The caption is the unit: its seeds are not independent.
        let over: Vec<(u32, f64)> =
            found.approach.iter().map(|each| (each.caption, each.gain - limit * each.way)).collect();
        let over = prompt_means(&over);
        let interval = t_interval(&over, confidence).filter(|_| over.len() >= FEWEST_CAPTIONS)?;
        Some(Self {
            share: found.approach.iter().map(|each| each.gain).sum::<f64>() / way,
            images: found.approach.len(),
            captions: over.len(),
            above: interval.lower > 0.0,
            below: interval.upper < 0.0,
        })
    }

    fn sentence(&self, limit: f64) -> String {
        format!(
            "{} images from {} training captions have come {:.0}% of the way from the base model's to the training \
             images themselves (limit {:.0}%).",
            self.images,
            self.captions,
            100.0 * self.share,
            100.0 * limit
        )
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
