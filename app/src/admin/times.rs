//! Relative and exact times as text.

use std::time::{SystemTime, UNIX_EPOCH};

use leptos::prelude::*;

use crate::words::duration;

/// Milliseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

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

/// `2026-11-23 18:05:09`, in UTC.
pub(super) fn exact(ms: i64) -> String {
    let seconds = ms.div_euclid(1000);
    let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", time / 3600, time / 60 % 60, time % 60)
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar: 400 years have 146,097 days, and
/// years that begin in March have their leap day last.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
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
            (-1, "1969-12-31 23:59:59"),
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
