//! The events of a job whose record says everything: each has all of it and supersedes the one before.

use super::{JobEvent, JobUpdate};
use crate::{StudioError, shared::Shared};

/// A job's record with the number of its newest event, read so that nothing happened between the two: otherwise a change could be
/// sent with the number of the event before it, and again with its own.
pub(super) async fn at_one_number<T, R: Future<Output = Result<T, StudioError>>>(
    shared: &Shared,
    id: &str,
    read: impl Fn() -> R,
) -> Result<(u64, T), StudioError> {
    let mut number = shared.store.newest_event(id).await?;
    loop {
        let record = read().await?;
        let now = shared.store.newest_event(id).await?;
        if now == number {
            return Ok((number, record));
        }
        number = now;
    }
}

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
