//! Garbage collection: deletes uploads that no generation references, generations without a result, anything older than the
//! configured retention, and blobs that no row needs.

use std::{collections::HashSet, sync::Arc, time::Duration};

use crate::{
    StudioError,
    shared::Shared,
    time::{DAY_MS, now},
    unused_blobs::remove_unused,
};

/// Time between collections; the first one runs at startup.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

/// How long a generation that was cancelled or failed before its first image is kept, in milliseconds. Watching clients
/// have seen the outcome by then.
const WITHOUT_RESULT: i64 = 60 * 60 * 1000;

/// Days that figures of generations are kept.
const STATS_DAYS: i64 = 400;

/// How long a blob may wait for its row, in milliseconds.
const GRACE: i64 = DAY_MS;

/// Collects at intervals until the studio closes.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut clock = tokio::time::interval(INTERVAL);
    let mut next_sweep = 0;
    loop {
        clock.tick().await;
        let now = now();
        if now >= next_sweep {
            next_sweep = now.saturating_add(DAY_MS);
            match note_orphans(&shared, now).await {
                Ok(0) => {}
                Ok(blobs) => tracing::info!(blobs, "blobs without an owner found"),
                Err(error) => tracing::warn!(%error, "blobs without an owner were not looked for"),
            }
        }
        match collect(&shared, now).await {
            Ok(Collected { uploads: 0, generations: 0, .. }) => {}
            Ok(Collected { uploads, generations, files }) => {
                tracing::info!(uploads, generations, files, "garbage collected");
            }
            // The next time may go better; nothing is lost but room.
            Err(error) => tracing::warn!(%error, "garbage collection failed"),
        }
    }
}

/// Number of rows and files deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Collected {
    pub(crate) uploads: usize,
    pub(crate) generations: usize,
    pub(crate) files: usize,
}

/// One collection at the time `now` (milliseconds since 1970).
pub(crate) async fn collect(shared: &Shared, now: i64) -> Result<Collected, StudioError> {
    let keep_for = shared.retention.keep_for.map(|time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    let mut collected = Collected::default();
    if let Some(keep_for) = keep_for {
        collected.generations += collect_generations(shared, now.saturating_sub(keep_for), false).await?;
    }
    collected.generations += collect_generations(shared, now - WITHOUT_RESULT, true).await?;
    collected.uploads = collect_uploads(shared, now - keep_for.unwrap_or(DAY_MS).min(DAY_MS)).await?;
    collected.files = remove_unused(&shared.store, &shared.blobs).await?;
    shared.store.forget_stats(now - STATS_DAYS * DAY_MS).await?;
    if collected.generations > 0 {
        shared.store.empty_log().await;
    }
    Ok(collected)
}

/// Deletes the uploads from before `before` that no generation references; returns how many.
pub(crate) async fn collect_uploads(shared: &Shared, before: i64) -> Result<usize, StudioError> {
    shared.store.forget_uploads(before).await
}

/// Notes every blob that no row needs and that is older than a day; returns how many. A crash between a blob and its
/// row leaves one, a backup whose database is older than its blobs leaves many.
pub(crate) async fn note_orphans(shared: &Shared, now: i64) -> Result<usize, StudioError> {
    if !shared.blobs.claim(&shared.store.blobs_id().await?).await? {
        tracing::warn!("the blobs belong to another database; those without an owner are kept");
        return Ok(0);
    }
    let mut noted = 0;
    for prefix in (0..=255_u8).map(|byte| format!("{byte:02x}")) {
        let found = shared.blobs.list(&prefix).await?;
        let owned: HashSet<String> = shared.store.owned_blobs(&prefix).await?.into_iter().collect();
        for (hash, changed) in found {
            if changed < now - GRACE && !owned.contains(&hash) {
                shared.store.note_blob(&hash).await?;
                noted += 1;
            }
        }
    }
    Ok(noted)
}

async fn collect_generations(shared: &Shared, before: i64, empty: bool) -> Result<usize, StudioError> {
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
