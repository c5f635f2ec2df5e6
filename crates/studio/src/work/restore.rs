//! The queue as the database has it: at the start after a stop, and whenever another node may have changed it.

use std::collections::HashSet;

use super::{generation, intake};
use crate::{
    StudioError,
    job::{EndedBy, JobKind, JobState, Outcome},
    shared::Shared,
    time::now,
};

/// A node starts: what it ran waits again, in its old order, and so does what waited. What was created too long ago is
/// cancelled: its visitor has probably left, and others should not wait for it.
pub(crate) async fn unfinished(shared: &Shared) -> Result<(), StudioError> {
    shared.store.take_up(&shared.work.node, &shared.model.hash).await?;
    let patience = shared.retention.keep_waiting;
    let oldest = now().saturating_sub(i64::try_from(patience.as_millis()).unwrap_or(i64::MAX));
    for id in shared.store.waiting_since_before(JobKind::Generation, oldest).await? {
        tracing::info!(generation = id, "expired while queued; cancelled");
        let why = "The server stopped before this generation finished and was down too long to resume it.";
        let by = EndedBy::NotHeld { id: &id, from: &[JobState::Queued] };
        shared.store.end(by, Outcome::Cancelled { why: Some(why) }).await?;
    }
    intake::read(shared).await?;
    refresh(shared).await
}

/// Reads which generations wait, and those that are new here.
pub(crate) async fn refresh(shared: &Shared) -> Result<(), StudioError> {
    let changes = shared.work.changes();
    let known: HashSet<(i64, String)> = shared.work.waiting_ids().into_iter().collect();
    let waiting = shared.store.waiting(JobKind::Generation, &shared.model.hash).await?;
    let mut new = Vec::new();
    let found: HashSet<(i64, String)> =
        waiting.iter().map(|(id, queued)| (queued.turn, id.clone())).collect();
    for (id, queued) in waiting {
        if known.contains(&(queued.turn, id.clone())) {
            continue;
        }
        match generation::load(shared, &id).await {
            Ok(generation) => new.push((queued, generation)),
            Err(StudioError::NotFound { .. }) => {}
            // One row that cannot be read must not keep the whole studio from starting.
            Err(error @ StudioError::Damaged(_)) => {
                let error = error.to_string();
                tracing::warn!(generation = id, error, "given up");
                let by = EndedBy::NotHeld { id: &id, from: &[JobState::Queued] };
                shared.store.end(by, Outcome::Failed(&error)).await?;
            }
            // Of the database itself: the generation waits on, and is read at the next refresh.
            Err(error) => return Err(error),
        }
    }
    let gone: Vec<String> = known.difference(&found).map(|(_, id)| id.clone()).collect();
    shared.work.replace(changes, &gone, new);
    Ok(())
}
