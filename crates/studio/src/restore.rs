//! The start after a stop: what waited waits again, what ran is run again from its first missing image.

use adire_protocol::{GenerationEvent, GenerationState};

use crate::{
    StudioError,
    client::Who,
    queue::QueuedGeneration,
    shared::{Shared, now},
    store::{Finish, GenerationRow},
    views,
};

/// Event numbers of each run of the server begin this far above those of the run before. Numbers of events
/// that do not stay (progress, positions) are not stored; no run has nearly so many.
const NUMBERS_PER_RUN: u64 = 1_000_000;

/// A generation that was running at this many crashes in a row is not tried again: it may be their cause.
const MAX_ATTEMPTS: i64 = 3;

/// Puts every unfinished generation back into the queue, in its old order. One that was created too long ago is
/// cancelled: its visitor has probably left, and others should not wait for it.
pub(crate) async fn unfinished(shared: &Shared) -> Result<(), StudioError> {
    let patience = shared.retention.keep_waiting;
    let oldest = now().saturating_sub(i64::try_from(patience.as_millis()).unwrap_or(i64::MAX));
    for row in shared.store.reopen_unfinished().await? {
        let first = NUMBERS_PER_RUN * row.epoch.cast_unsigned() + 1;
        if row.created_at < oldest {
            tracing::info!(generation = row.id, "expired while queued; cancelled");
            let why =
                "The server stopped before this generation finished and was down too long to resume it.";
            let finish =
                Finish { state: GenerationState::Cancelled, at: now(), error: Some(why), event: first };
            shared.store.finish(&row.id, &finish).await?;
            continue;
        }
        // One row that cannot be read must not keep the whole studio from starting.
        if let Err(error) = requeue(shared, &row, first).await {
            let error = error.to_string();
            tracing::warn!(generation = row.id, error, "given up");
            let finish =
                Finish { state: GenerationState::Failed, at: now(), error: Some(&error), event: first };
            shared.store.finish(&row.id, &finish).await?;
        }
    }
    Ok(())
}

async fn requeue(shared: &Shared, row: &GenerationRow, first: u64) -> Result<(), StudioError> {
    if row.attempts >= MAX_ATTEMPTS {
        return Err(StudioError::Storage(format!(
            "The server crashed {MAX_ATTEMPTS} times during this generation, so it is not retried. It may need more memory than is available; try a smaller size."
        )));
    }
    let kept = views::images(shared, &row.id).await?;
    let finished = kept
        .iter()
        .filter_map(|event| match &event.event {
            GenerationEvent::Image { image } => Some(image.index),
            _ => None,
        })
        .collect();
    let who = Who { visitor: row.visitor.clone(), network: row.network.clone() };
    let generation =
        QueuedGeneration { id: row.id.clone(), who, created_at: row.created_at, spec: row.spec()?, finished };
    tracing::info!(generation = row.id, "taken up again");
    shared.queue.enqueue(generation, first, kept);
    Ok(())
}
