//! The events of a job whose record says everything: each has all of it and supersedes the one before.

use super::{JobEvent, JobUpdate};

/// A record as it stands, with the number of the job's newest event, unless nothing of it is new to a reader that saw `cursor`
/// last, or after `last_sent`.
pub(super) fn news<T: Clone + PartialEq>(
    (number, record): (u64, T),
    cursor: u64,
    last_sent: &mut Option<Box<T>>,
    change: impl FnOnce(T) -> JobUpdate,
) -> Option<JobEvent> {
    let is_new = match last_sent {
        Some(sent) => **sent != record,
        None => number > cursor || cursor == 0,
    };
    if !is_new {
        return None;
    }
    *last_sent = Some(Box::new(record.clone()));
    Some(JobEvent { id: number.max(cursor), update: change(record) })
}
