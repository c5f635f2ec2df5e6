//! Stopping a job from outside: at once where nobody holds it, else its holder is asked to.

use super::kind::Kind;
use crate::{
    StudioError,
    job::{Asked, EndedBy, JobState, Outcome},
    queue::Stop,
    shared::Shared,
};

/// What a request to stop a job came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// Nobody held it, and it has ended or is put aside.
    Removed,
    /// It runs and will stop within one unit.
    Stopping,
    /// It is in another state.
    Absent,
}

/// Has a job stop: at once if it is in one of these states.
pub(crate) async fn stop(
    shared: &Shared,
    id: &str,
    from: &[JobState],
    asked: Asked,
) -> Result<Stopped, StudioError> {
    let outcome = match asked {
        Asked::Pause => Outcome::Paused,
        Asked::Cancel => Outcome::Cancelled { why: None },
    };
    // Twice: it may be claimed between the two questions.
    for _ in 0..2 {
        if let Some(event) = shared.store.end(EndedBy::NotHeld { id, from }, outcome).await? {
            shared.work.withdraw(id, event);
            return Ok(Stopped::Removed);
        }
        if shared.store.ask(id, asked).await? {
            shared.work.stop(id, Stop::Asked(asked));
            shared.work.notify(id);
            return Ok(Stopped::Stopping);
        }
    }
    Ok(Stopped::Absent)
}

/// Cancels a job of that kind: at once while it waits, within one unit while it runs.
pub(crate) async fn cancel(shared: &Shared, id: &str, kind: &dyn Kind) -> Result<Stopped, StudioError> {
    let stopped = stop(shared, id, kind.cancelled_from(), Asked::Cancel).await?;
    if stopped == Stopped::Removed {
        kind.rested(shared, id, Some(JobState::Cancelled)).await;
    }
    Ok(stopped)
}

/// Cancels a job of that kind, which must exist.
///
/// # Errors
/// It has ended in another way, or does not exist.
pub(crate) async fn cancel_or_refuse(shared: &Shared, id: &str, kind: &dyn Kind) -> Result<(), StudioError> {
    if cancel(shared, id, kind).await? != Stopped::Absent {
        return Ok(());
    }
    let missing = || StudioError::not_found("job", id);
    match shared.store.kind_and_state(id).await?.ok_or_else(missing)? {
        (_, JobState::Cancelled) => Ok(()),
        (kind, state) => {
            let (what, state) = (kind.in_words(), state.name());
            Err(StudioError::Conflict(format!("This {what} is {state} and cannot be cancelled.")))
        }
    }
}
