//! Floors: whether there are usable images at all.

use adire_protocol::VerdictOutcome;

use super::{Criterion, CriterionKind, Evidence};
use crate::evaluation::policy::Policy;

pub(super) fn criterion(evidence: &Evidence, policy: &Policy) -> Criterion {
    let (found, limits) = (&evidence.floors, &policy.floors);
    let verdict = |outcome, reason| Criterion::new(CriterionKind::Floors, limits.muted, outcome, reason);
    if found.applied_layers == Some(0) {
        return verdict(VerdictOutcome::Fail, "The adapter changes no layer of this model.".to_owned());
    }
    if found.images == 0 {
        return verdict(VerdictOutcome::Inconclusive, "No images were rendered.".to_owned());
    }
    let rendered = found.images - found.failed.min(found.images);
    let rate = rendered as f64 / found.images as f64;
    let p95 = percentile_95(&found.seconds);
    let slow = limits.seconds_p95.zip(p95).filter(|(limit, seconds)| seconds > limit);
    let (outcome, reason) = if rate < limits.success_rate {
        let (failed, images) = (found.failed, found.images);
        (VerdictOutcome::Fail, format!("{failed} of {images} images failed to render."))
    } else if found.flat > 0 {
        (VerdictOutcome::Fail, format!("{} of {rendered} images are of one colour.", found.flat))
    } else if found.compared > 0 && found.unchanged >= found.compared {
        (VerdictOutcome::Fail, "The adapter changes nothing: its images equal the base model's.".to_owned())
    } else if let Some((limit, seconds)) = slow {
        (
            VerdictOutcome::Fail,
            format!("95% of the images take up to {seconds:.1} s; the limit is {limit:.1} s."),
        )
    } else {
        (
            VerdictOutcome::Pass,
            format!("{rendered} of {} images rendered; none is of one colour.", found.images),
        )
    };
    Criterion { value: Some(rate), threshold: Some(limits.success_rate), ..verdict(outcome, reason) }
}

/// The smallest number of seconds in which 95 % of the images are done.
fn percentile_95(seconds: &[f64]) -> Option<f64> {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (0.95 * sorted.len() as f64).ceil() as usize;
    sorted.get(place.checked_sub(1)?).copied()
}
