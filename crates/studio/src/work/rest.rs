//! How jobs come to rest: the one place where a holder ends a job, or gives it back.

use std::time::Duration;

use adire_protocol::GenerationEvent;

use super::kind::{Kind, Progressed, Run};
use crate::{
    job::{Asked, EndedBy, JobState, Outcome},
    queue::{Hold, Stop},
    shared::Shared,
    store::Release,
};

/// Time between two tries to write how a job ended, and how many there are before it is left to another claim.
const RETRY: Duration = Duration::from_millis(250);
const TRIES: u32 = 4;

/// Writes that a job is done, or why it stops, and publishes it. `version`: what it has made.
pub(super) async fn rest(
    shared: &Shared,
    hold: &Hold,
    kind: &dyn Kind,
    result: Result<Progressed, Stop>,
    version: Option<&str>,
) {
    let id = hold.lease.job.as_str();
    let state = match result {
        Ok(Progressed::Written(event)) => {
            shared.work.let_go(id, event, Some(GenerationEvent::Done));
            // Those who follow it go first.
            tokio::task::yield_now().await;
            tracing::info!(job = id, "ended");
            Some(JobState::Done)
        }
        Ok(Progressed::More | Progressed::Done) => write_end(shared, hold, Outcome::Done { version }).await,
        Err(Stop::Failed(message)) => {
            // The whole of it is for the log.
            tracing::error!(job = id, kind = kind.kind().name(), message, "failed");
            write_end(shared, hold, Outcome::Failed(&kind.shown(&message))).await
        }
        Err(Stop::LeaseLost) => {
            shared.work.let_go(id, None, None);
            None
        }
        Err(stop @ (Stop::Closing | Stop::Asked(_))) => give_back(shared, hold, &stop).await,
    };
    kind.rested(shared, id, state).await;
}

/// Writes how a run ends or why it stops, and clears it away.
pub(super) async fn end(
    shared: &Shared,
    kind: &dyn Kind,
    mut run: Box<dyn Run>,
    result: Result<Progressed, Stop>,
) {
    run.end(shared);
    let (hold, version) = (run.hold().clone(), run.version().map(str::to_owned));
    rest(shared, &hold, kind, result, version.as_deref()).await;
}

/// Writes how a job ends and publishes it; its state, if it could be written.
async fn write_end(shared: &Shared, hold: &Hold, outcome: Outcome<'_>) -> Option<JobState> {
    let id = hold.lease.job.as_str();
    // Streams of other kinds read rows.
    let event = match outcome {
        Outcome::Done { .. } => Some(GenerationEvent::Done),
        Outcome::Failed(message) => Some(GenerationEvent::Failed { message: message.to_owned() }),
        Outcome::Cancelled { .. } => Some(GenerationEvent::Cancelled),
        Outcome::Paused => None,
    };
    for attempt in 1..=TRIES {
        let by = EndedBy::Holder(&hold.lease, shared.work.next_event(id));
        match shared.store.end(by, outcome).await {
            Ok(number) => {
                // None: somebody else has it, and says how it ends.
                tracing::info!(job = id, state = outcome.state().name(), written = number.is_some(), "ended");
                shared.work.let_go(id, number, event.filter(|_| number.is_some()));
                return number.map(|_| outcome.state());
            }
            Err(error) => {
                tracing::error!(job = id, %error, attempt, "its end could not be stored");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
    // The row still says `running`: once its lease has ended, it is claimed again.
    shared.work.let_go(id, None, event);
    None
}

/// Lets a job wait again, or end as requested; which of these.
async fn give_back(shared: &Shared, hold: &Hold, stop: &Stop) -> Option<JobState> {
    let id = hold.lease.job.as_str();
    match shared.store.release(Release::Held(&hold.lease)).await {
        Ok(released) => {
            let released = released.first();
            let event = released.filter(|released| released.state != JobState::Queued);
            shared.work.let_go(id, event.map(|released| released.event), None);
            released.map(|released| released.state)
        }
        Err(error) => {
            // It stays `running`: its lease ends, or this node starts again.
            tracing::warn!(job = id, %error, "could not be given back");
            let cancelled = *stop == Stop::Asked(Asked::Cancel);
            shared.work.let_go(id, None, cancelled.then_some(GenerationEvent::Cancelled));
            None
        }
    }
}
