//! Times as rows and blobs have them: the one clock of the studio, the pages and the server.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 (UTC).
pub fn now() -> i64 {
    milliseconds(SystemTime::now())
}

/// A time in milliseconds since 1970 (UTC).
pub fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A time in whole seconds since 1970 (UTC).
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Milliseconds per day.
pub(crate) const DAY_MS: i64 = 86_400_000;

/// The first millisecond of a day written `2026-11-27`, in UTC and the Gregorian calendar; `None` for anything else.
pub(crate) fn day(text: &str) -> Option<i64> {
    humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).ok().map(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (text, expected) in [
            ("1970-01-01", Some(0)),
            ("1970-03-01", Some(59)),
            ("2000-02-29", Some(11_016)),
            ("2026-11-27", Some(20_784)),
            ("2100-02-29", None),
            ("2026-13-01", None),
            ("2026-04-31", None),
            ("2026-4-01", None),
            ("2026-11-27-1", None),
            ("+026-11-27", None),
            ("1969-12-31", None),
            ("", None),
        ] {
            assert_eq!(day(text), expected.map(|days: i64| days * DAY_MS), "{text}");
        }
    }
}
