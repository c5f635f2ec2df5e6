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

/// The turn of a new job, as the statement that writes it computes it. `now`: the largest turn that has begun; `owner`: where
/// the owner's jobs before end.
#[cfg(test)]
fn turn(now: i64, owner: i64) -> i64 {
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

/// Moves the job at `at` to `to` in a queue sorted by turn: those whose turns change, with the new ones. Turns stay where
/// they are as far as the new order allows.
pub(crate) fn reorder(mut queue: Vec<(String, i64)>, at: usize, to: usize) -> Vec<(String, i64)> {
    if at >= queue.len() || to >= queue.len() {
        return Vec::new();
    }
    let turns: Vec<i64> = queue.iter().map(|(_, turn)| *turn).collect();
    let moved = queue.remove(at);
    queue.insert(to, moved);
    let mut before = None::<i64>;
    let mut changed = Vec::new();
    for ((id, old), turn) in queue.into_iter().zip(turns) {
        // Jobs of one turn are sorted by their ids, so each gets its own.
        let turn = before.map_or(turn, |before| turn.max(before + 1));
        before = Some(turn);
        if turn != old {
            changed.push((id, turn));
        }
    }
    changed
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

    #[test]
    fn a_moved_job_changes_as_few_turns_as_it_can() {
        let queue = |turns: &[i64]| -> Vec<(String, i64)> {
            turns.iter().zip("abcd".chars()).map(|(turn, id)| (id.to_string(), *turn)).collect()
        };
        let moved = |turns: &[i64], at, to| {
            let mut after: std::collections::BTreeMap<String, i64> = queue(turns).into_iter().collect();
            after.extend(reorder(queue(turns), at, to));
            let mut sorted: Vec<(i64, String)> = after.into_iter().map(|(id, turn)| (turn, id)).collect();
            sorted.sort();
            sorted.into_iter().map(|(_, id)| id).collect::<String>()
        };
        for turns in [[0, 10, 20, 30], [5, 5, 5, 5], [0, 0, 1, 1]] {
            assert_eq!(moved(&turns, 3, 0), "dabc");
            assert_eq!(moved(&turns, 2, 1), "acbd");
            assert_eq!(moved(&turns, 0, 1), "bacd");
            assert_eq!(moved(&turns, 1, 1), "abcd");
        }
        assert_eq!(reorder(queue(&[0, 10, 20, 30]), 2, 1), [("c".to_owned(), 10), ("b".to_owned(), 20)]);
        assert_eq!(reorder(queue(&[0]), 0, 7), []);
    }
}
