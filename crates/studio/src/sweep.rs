//! Deletes uploads that nobody made anything of: a picture was chosen, and then another one.

use std::{sync::Arc, time::Duration};

use crate::{
    StudioError,
    shared::{Shared, blocking, now},
};

/// How long an upload waits for a request that names it, in milliseconds.
const KEPT: i64 = 24 * 60 * 60 * 1000;

/// How often old ones are looked for; the first time at once.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// Sweeps until the studio closes.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut clock = tokio::time::interval(EVERY);
    loop {
        clock.tick().await;
        match uploads(&shared, now() - KEPT).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "unused uploads are deleted"),
            // The next hour may go better; nothing is lost but room.
            Err(error) => tracing::warn!(%error, "unused uploads could not be deleted"),
        }
    }
}

/// Deletes the uploads that came before `before` (milliseconds since 1970) and that no request names; how many.
pub(crate) async fn uploads(shared: &Shared, before: i64) -> Result<usize, StudioError> {
    let _kept = shared.uploads.lock().await;
    let old = shared.store.forget_uploads(before).await?;
    let mut gone = Vec::new();
    for hash in old {
        // Pictures made here have texts in their files, so none of them has the name of an upload; but samples and
        // pictures of datasets may.
        if !shared.store.is_used(&hash).await? {
            gone.push(hash);
        }
    }
    let (blobs, deleted) = (shared.blobs.clone(), gone.len());
    blocking(move || gone.iter().try_for_each(|hash| blobs.remove(hash))).await?;
    Ok(deleted)
}
