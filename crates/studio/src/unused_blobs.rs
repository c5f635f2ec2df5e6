//! Blobs that no row needs any more.

use crate::{StudioError, blobs::Blobs, store::Store};

/// Removes the blobs that were noted and that no row needs; returns how many.
pub(crate) async fn remove_unused(store: &Store, blobs: &Blobs) -> Result<usize, StudioError> {
    let mut removed = 0;
    for hash in store.unused_blobs().await? {
        // For one blob at a time: a store operation waits.
        let _removing = blobs.removing().await;
        if !store.has_owner(&hash).await? {
            blobs.remove(&hash).await?;
            removed += 1;
        }
        store.forget_blob(&hash).await?;
    }
    Ok(removed)
}
