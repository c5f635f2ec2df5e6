//! Relative and exact times as text.

use std::time::{Duration, UNIX_EPOCH};

use adire_studio::time::now;
use leptos::prelude::*;

use crate::words::duration;

/// How long ago, with the exact time on hover.
pub(crate) fn ago(then: i64) -> AnyView {
    let exact = exact(then);
    view! {
        <time datetime=exact.replace(' ', "T") + "Z" title=format!("{exact} UTC")>
            {relative(now() - then)}
        </time>
    }
    .into_any()
}

fn relative(ms: i64) -> String {
    match ms / 1000 {
        ..45 => "just now".to_owned(),
        45..86_400 => format!("{} ago", duration(ms as f64)),
        86_400..172_800 => "yesterday".to_owned(),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

/// The last millisecond of the year 9999.
const LAST: i64 = 253_402_300_799_999;

/// `2026-11-23 18:05:09`, in UTC, from 1970 to 9999.
pub(super) fn exact(ms: i64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(ms.clamp(0, LAST).cast_unsigned());
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.trim_end_matches('Z').replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_400_000, "2000-02-29 00:00:00"),
            (1_709_251_199_000, "2024-02-29 23:59:59"),
            (1_709_251_200_000, "2024-03-01 00:00:00"),
            (4_102_444_799_999, "2099-12-31 23:59:59"),
            (-1, "1970-01-01 00:00:00"),
            (i64::MAX, "9999-12-31 23:59:59"),
        ] {
            assert_eq!(exact(ms), text);
        }
    }

    #[test]
    fn relative_times_are_rounded() {
        for (seconds, text) in [
            (3, "just now"),
            (60, "60 s ago"),
            (600, "10 min ago"),
            (7_200, "2 h ago"),
            (90_000, "yesterday"),
            (300_000, "3 days ago"),
        ] {
            assert_eq!(relative(seconds * 1000), text);
        }
        assert_eq!(relative(-5_000), "just now");
    }
}
