//! Copying: by ranks of distances, and by whose training image is the nearest.

use adire_protocol::VerdictOutcome;
use statrs::distribution::{Binomial, DiscreteCDF};

use super::{Criterion, CriterionKind, Evidence};
use crate::evaluation::policy::Policy;

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
    // A test that could not have failed, whatever the images, shows nothing.
    let smallest_z = smallest_z(found.generated, found.held_out);
    let ranks = found.z.is_some() && smallest_z <= settings.z;
    let own_image = 0.5_f64.powi(i32::try_from(images).unwrap_or(i32::MAX)) <= level;
    match found.z {
        Some(z) if ranks => {
            let reason = format!(
                "Images are not nearer to training images than {} held-out images are (z {z:.1}, limit {:.1}).",
                found.held_out, settings.z
            );
            threshold(z, settings.z, verdict(VerdictOutcome::Pass, reason))
        }
        _ if own_image => {
            let reason = format!(
                "{:.0}% of {images} images from training captions are nearest to that caption's own image; {:.0}% of \
                 the base model's. There are too few held-out images ({}) for the rank test.",
                100.0 * own,
                100.0 * base_own,
                found.held_out
            );
            threshold(own, settings.own_image_rate, verdict(VerdictOutcome::Pass, reason))
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
