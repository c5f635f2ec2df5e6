//! Which job is next. Pure: the same candidates give the same answer, on any database and any number of workers.
//!
//! Turns are virtual times given at submission, as in start-time fair queueing: each owner's jobs follow each other at
//! distances of their costs, and somebody new begins at the present, which is the largest turn that has begun. So what
//! is due next needs no counting at the claim, and a newcomer does not wait for another owner's backlog.

use std::time::Duration;

/// How long a job may be passed over for others whose adapters are in effect already: in virtual time between the two,
/// and in real time while it is the first.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A job that waits. They are sorted by turn, then id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) id: String,
    pub(crate) wants: String,
    pub(crate) turn: i64,
    pub(crate) cost: i64,
}

/// The turn of a new job. `now`: the largest turn that has begun; `owner`: where the owner's jobs before end.
pub(crate) fn turn(now: i64, owner: i64) -> i64 {
    now.max(owner)
}

/// The first candidate that wants what is `resident`, unless the head of the queue would lose patience.
pub(crate) fn pick<'a>(
    candidates: &'a [Candidate],
    resident: Option<&str>,
    passed_over: Duration,
) -> Option<&'a Candidate> {
    let head = candidates.first()?;
    if passed_over >= PATIENCE {
        return Some(head);
    }
    let latest = head.turn.saturating_add(PATIENCE.as_millis() as i64);
    let mut near = candidates.iter().take_while(|candidate| candidate.turn <= latest);
    Some(near.find(|candidate| Some(candidate.wants.as_str()) == resident).unwrap_or(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: &str, wants: &str, turn: i64) -> Candidate {
        Candidate { id: id.to_owned(), wants: wants.to_owned(), turn, cost: 1 }
    }

    #[test]
    fn what_is_resident_goes_first_within_patience() {
        let queue = [
            candidate("a", "indigo", 0),
            candidate("b", "dots", 5_000),
            candidate("c", "dots", 20_000),
            candidate("d", "moons", 20_001),
        ];
        let picked = |resident, passed| pick(&queue, resident, passed).unwrap().id.clone();
        assert_eq!(picked(None, Duration::ZERO), "a");
        assert_eq!(picked(Some("dots"), Duration::ZERO), "b");
        assert_eq!(picked(Some("moons"), Duration::ZERO), "a", "too far from the head");
        assert_eq!(picked(Some("indigo"), Duration::ZERO), "a");
        assert_eq!(picked(Some("dots"), PATIENCE), "a", "the head has been passed over long enough");
        assert_eq!(pick(&[], Some("dots"), Duration::ZERO), None);
    }

    #[test]
    fn a_newcomer_is_due_at_once_and_a_backlog_is_spread_out() {
        // One owner asks for a hundred images of 3 s; the tenth is being made when somebody else comes.
        let backlog: Vec<i64> = (0..100)
            .scan(0, |end, _| {
                let turn = turn(0, *end);
                *end = turn + 3_000;
                Some(turn)
            })
            .collect();
        let newcomer = turn(backlog[9], 0);
        assert!(newcomer < backlog[10]);
        let second = turn(backlog[9], newcomer + 3_000);
        assert!(second <= backlog[10] && second < backlog[11], "they take turns from then on");
    }
}
