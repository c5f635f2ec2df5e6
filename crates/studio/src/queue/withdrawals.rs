//! Rate limit for generations that are cancelled before they start: they cost no compute, but each leaves a row for a while.
//! A leaky bucket per network, or per visitor without a network.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::client::Who;

/// How many may be taken back at once.
const BURST: f64 = 60.0;
/// How long it takes until one more may be.
const EACH: Duration = Duration::from_secs(6);
/// Entries from which on the map is cleared of those that are empty.
const MANY: usize = 1_000;

#[derive(Default)]
pub(super) struct Withdrawals(HashMap<String, (f64, Instant)>);

impl Withdrawals {
    /// Counts one that was taken back.
    pub(super) fn count(&mut self, who: &Who, now: Instant) {
        let Some(key) = key(who) else { return };
        if self.0.len() >= MANY {
            self.0.retain(|_, bucket| level(*bucket, now) > 0.0);
        }
        let bucket = self.0.entry(key).or_insert((0.0, now));
        *bucket = (level(*bucket, now) + 1.0, now);
    }

    /// How long `who` has to wait before the next request; `None`: not at all.
    pub(super) fn wait(&self, who: &Who, now: Instant) -> Option<Duration> {
        let over = level(*self.0.get(&key(who)?)?, now) - BURST;
        (over > 0.0).then(|| EACH.mul_f64(over))
    }
}

fn key(who: &Who) -> Option<String> {
    who.network.clone().or_else(|| who.visitor.clone())
}

fn level((level, at): (f64, Instant), now: Instant) -> f64 {
    let leaked = now.saturating_duration_since(at).as_secs_f64() / EACH.as_secs_f64();
    (level - leaked).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_more_has_to_wait() {
        let (me, other) = ("me", "other");
        let who = |network: &str| Who { visitor: None, network: Some(network.to_owned()) };
        let (mut withdrawn, now) = (Withdrawals::default(), Instant::now());
        for _ in 0..60 {
            assert_eq!(withdrawn.wait(&who(me), now), None);
            withdrawn.count(&who(me), now);
        }
        assert_eq!(withdrawn.wait(&who(me), now), None);
        withdrawn.count(&who(me), now);
        assert_eq!(withdrawn.wait(&who(me), now), Some(EACH));
        assert_eq!(withdrawn.wait(&who(other), now), None);
        assert_eq!(withdrawn.wait(&who(me), now + EACH), None, "one has leaked out");
        // Calls from within the process are not counted.
        withdrawn.count(&Who::default(), now);
        assert_eq!(withdrawn.wait(&Who::default(), now), None);
    }

    #[test]
    fn what_has_leaked_out_takes_no_room() {
        let (mut withdrawn, now) = (Withdrawals::default(), Instant::now());
        for i in 0..MANY {
            withdrawn.count(&Who { visitor: Some(i.to_string()), network: None }, now);
        }
        withdrawn.count(&Who { visitor: Some("one more".to_owned()), network: None }, now + EACH);
        assert_eq!(withdrawn.0.len(), 1);
    }
}
