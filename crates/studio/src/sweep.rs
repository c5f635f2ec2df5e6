//! Garbage collection: uploads that no generation names, generations without a result, and whatever is older than the
//! admin keeps things.

use std::{sync::Arc, time::Duration};

use crate::{
    StudioError, deletion,
    limits::DAY_MS,
    shared::{Shared, now},
};

/// How often it runs; the first time at once.
const EVERY: Duration = Duration::from_secs(10 * 60);

/// How long a generation that was cancelled or failed before its first image is kept, in milliseconds. Whoever watches it
/// has read by then how it ended.
const WITHOUT_RESULT: i64 = 60 * 60 * 1000;

/// Sweeps until the studio closes.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut clock = tokio::time::interval(EVERY);
    loop {
        clock.tick().await;
        match everything(&shared, now()).await {
            Ok(Swept { uploads: 0, generations: 0, .. }) => {}
            Ok(Swept { uploads, generations, files }) => {
                tracing::info!(uploads, generations, files, "what is not kept any longer is deleted");
            }
            // The next time may go better; nothing is lost but room.
            Err(error) => tracing::warn!(%error, "what is not kept any longer could not be deleted"),
        }
    }
}

/// What a sweep has deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    pub(crate) uploads: usize,
    pub(crate) generations: usize,
    pub(crate) files: usize,
}

/// One sweep, as if the time were `now` (milliseconds since 1970).
pub(crate) async fn everything(shared: &Shared, now: i64) -> Result<Swept, StudioError> {
    let keep_for = shared.retention.keep_for.map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    let mut swept = Swept::default();
    if let Some(keep_for) = keep_for {
        swept.generations += generations(shared, now.saturating_sub(keep_for), false).await?;
    }
    swept.generations += generations(shared, now - WITHOUT_RESULT, true).await?;
    swept.uploads = uploads(shared, now - keep_for.unwrap_or(DAY_MS).min(DAY_MS)).await?;
    swept.files = deletion::remove_doomed(shared).await?;
    if swept.generations > 0 {
        shared.store.empty_log().await;
    }
    Ok(swept)
}

/// Deletes the uploads that came before `before` and that no generation names; how many.
pub(crate) async fn uploads(shared: &Shared, before: i64) -> Result<usize, StudioError> {
    let _keeping = shared.keeping.lock().await;
    shared.store.forget_uploads(before).await
}

async fn generations(shared: &Shared, before: i64, empty: bool) -> Result<usize, StudioError> {
    let mut deleted = 0;
    loop {
        let batch = shared.store.ended_before(before, empty).await?;
        if batch.is_empty() {
            return Ok(deleted);
        }
        for id in batch {
            shared.store.delete_generation(&id, None).await?;
            deleted += 1;
        }
    }
}
