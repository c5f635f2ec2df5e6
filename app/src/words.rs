//! Numbers and durations as text.

use adire_protocol::{QueueStatus, WaitReason, decimal::Decimal};

/// A length of time, rounded to what matters: `under 1 s`, `3 s`, `2 min`, `1.5 h`.
pub(crate) fn duration(ms: f64) -> String {
    let seconds = ms / 1000.0;
    if !seconds.is_finite() || seconds < 0.95 {
        "under 1 s".to_owned()
    } else if seconds < 89.5 {
        format!("{} s", whole(seconds))
    } else if seconds < 89.5 * 60.0 {
        format!("{} min", whole(seconds / 60.0))
    } else {
        let half_hours = (seconds / 1800.0).round();
        format!("{} h", Decimal(half_hours / 2.0))
    }
}

/// To the nearest whole number, half a one to the even one.
pub(crate) fn whole(number: f64) -> u32 {
    number.round_ties_even() as u32
}

/// `1 image`, `4 images`.
pub(crate) fn images(count: u32) -> String {
    counted(u64::from(count), "image")
}

/// `1 caption`, `4 captions`; for words whose plural ends in s.
pub(crate) fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A number with at most three decimals, no trailing zeros and a real minus sign.
pub(crate) fn number(value: f64) -> String {
    let rounded = (value * 1000.0).round() / 1000.0;
    let text = Decimal(rounded + 0.0).to_string();
    match text.strip_prefix('-') {
        Some(positive) => format!("−{positive}"),
        None => text,
    }
}

/// Size of a request that is not sent yet, in units of the server's measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Work {
    pub(crate) count: u32,
    /// Steps of one image, each by the pixels it works on, in native sizes.
    pub(crate) steps: f64,
    /// Pixels of the finished image divided by those of the native size.
    pub(crate) area: f64,
}

/// Expected milliseconds of the work itself; `None` while nothing has been measured.
pub(crate) fn own_time(queue: &QueueStatus, work: Work) -> Option<f64> {
    let step = queue.step_ms?;
    let fixed = queue.fixed_ms.unwrap_or_default();
    Some(f64::from(work.count) * (work.steps * step + work.area * fixed))
}

/// What a queued generation waits for: `2 ahead of you`.
pub(crate) fn waits_for(ahead: Option<u32>, reason: Option<WaitReason>) -> Option<String> {
    match reason {
        Some(WaitReason::TrainingStep) => return Some("after the current training step".to_owned()),
        Some(WaitReason::EvaluationStep) => {
            return Some("after the current image of an evaluation".to_owned());
        }
        _ => {}
    }
    Some(match (ahead?, reason) {
        (0, _) => return None,
        (1, Some(WaitReason::OwnGenerations)) => "after another of yours".to_owned(),
        (ahead, Some(WaitReason::OwnGenerations)) => format!("after {ahead} others of yours"),
        (ahead, _) => format!("{ahead} ahead of you"),
    })
}

/// Expected time and queue position: `about 3 s · 2 ahead of you`. Empty while nothing is known.
pub(crate) fn forecast(queue: &QueueStatus, work: Work) -> String {
    if queue.capacity > 0 && queue.ahead >= queue.capacity {
        return match queue.wait_ms {
            Some(wait) => format!("the queue is full for about {}", duration(wait as f64)),
            None => "the queue is full".to_owned(),
        };
    }
    let wait = if queue.ahead == 0 { 0.0 } else { queue.wait_ms.unwrap_or_default() as f64 };
    let time = own_time(queue, work).map(|own| {
        let total = duration(own + wait);
        if total.starts_with("under") { total } else { format!("about {total}") }
    });
    let ahead = (queue.ahead > 0).then(|| format!("{} ahead of you", queue.ahead));
    [time, ahead].into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "ssr")]
    #[test]
    fn times_are_rounded_to_what_matters() {
        for (ms, text) in [
            (0.0, "under 1 s"),
            (949.0, "under 1 s"),
            (960.0, "1 s"),
            (3_400.0, "3 s"),
            (89_000.0, "89 s"),
            (90_000.0, "2 min"),
            (150_000.0, "2 min"),
            (5_400_000.0, "1.5 h"),
            (f64::NAN, "under 1 s"),
        ] {
            assert_eq!(duration(ms), text, "{ms}");
        }
    }

    #[test]
    fn numbers_lose_their_noise() {
        for (value, text) in [(0.8, "0.8"), (-1.0, "−1"), (0.1 + 0.2, "0.3"), (-0.0001, "0"), (7.5, "7.5")]
        {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_wait_has_a_reason() {
        use WaitReason::{OtherGenerations, OwnGenerations, TrainingStep};
        for (ahead, reason, text) in [
            (Some(2), Some(OtherGenerations), Some("2 ahead of you")),
            (Some(1), Some(OwnGenerations), Some("after another of yours")),
            (Some(3), Some(OwnGenerations), Some("after 3 others of yours")),
            (None, Some(TrainingStep), Some("after the current training step")),
            (Some(0), None, None),
            (None, None, None),
        ] {
            assert_eq!(waits_for(ahead, reason).as_deref(), text);
        }
    }

    #[test]
    fn the_forecast_adds_the_wait_to_the_own_time() {
        let work = Work { count: 1, steps: 20.0, area: 1.0 };
        let mut queue = QueueStatus {
            ahead: 0,
            capacity: 8,
            wait_ms: Some(0),
            step_ms: Some(120.0),
            fixed_ms: Some(600.0),
        };
        assert_eq!(forecast(&queue, work), "about 3 s");
        queue = QueueStatus { ahead: 2, wait_ms: Some(6_000), ..queue };
        assert_eq!(forecast(&queue, work), "about 9 s · 2 ahead of you");
        assert_eq!(forecast(&queue, Work { count: 2, ..work }), "about 12 s · 2 ahead of you");
        queue = QueueStatus { step_ms: None, ..queue };
        assert_eq!(forecast(&queue, work), "2 ahead of you");
        queue = QueueStatus { ahead: 8, ..queue };
        assert_eq!(forecast(&queue, work), "the queue is full for about 6 s");
        assert_eq!(forecast(&QueueStatus::default(), work), "");
    }
}
