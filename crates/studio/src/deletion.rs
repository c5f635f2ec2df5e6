//! Deleting for good: rows first, in one transaction that notes which blobs may not be needed any more, then those blobs.
//! A crash in between leaves notes, which the next collection reads.

use std::sync::Arc;

use adire_protocol::Deleted;

use crate::{
    StudioError, client::Asker, requests, shared::Shared, unused_blobs::remove_unused, work::Stopped,
};

/// Deletes a generation: its prompt, its images, and uploads that only it began with. One that waits or runs is cancelled
/// first.
pub(crate) async fn generation(shared: Arc<Shared>, id: String, by: Asker) -> Result<(), StudioError> {
    let row = shared.store.generation(&id).await?.ok_or_else(|| StudioError::not_found("generation", &id))?;
    if !by.may(row.visitor.as_deref()) {
        return Err(StudioError::NotYours { what: "delete" });
    }
    end(&shared, &id).await?;
    if !shared.store.delete_generation(&id, by.who.owner().as_deref()).await? {
        // Somebody else was quicker.
        return Err(StudioError::not_found("generation", &id));
    }
    tidy(&shared).await
}

/// Deletes one image of a generation; with its last one goes the generation.
pub(crate) async fn image(shared: Arc<Shared>, id: String, index: u32, by: Asker) -> Result<(), StudioError> {
    let row = shared.store.generation(&id).await?.ok_or_else(|| StudioError::not_found("generation", &id))?;
    if !by.may(row.visitor.as_deref()) {
        return Err(StudioError::NotYours { what: "delete" });
    }
    if !row.state().is_final() {
        // A restart would take it for one that is still to be made.
        return Err(StudioError::Conflict(
            "This generation is not finished. Cancel it first, or delete the whole generation.".to_owned(),
        ));
    }
    if !shared.store.delete_image(&id, index, by.who.owner().as_deref()).await? {
        return Err(StudioError::not_found("image", &format!("{index} of generation {id}")));
    }
    tidy(&shared).await
}

/// Deletes every generation of a visitor (a digest) and all that they uploaded.
pub(crate) async fn visitor(shared: Arc<Shared>, visitor: String) -> Result<Deleted, StudioError> {
    let mut deleted = Deleted::default();
    for id in shared.store.generations_of(&visitor).await? {
        end(&shared, &id).await?;
        deleted.generations += u32::from(shared.store.delete_generation(&id, None).await?);
    }
    shared.store.delete_uploads_of(&visitor).await?;
    tidy(&shared).await?;
    Ok(deleted)
}

/// Deletes the image with that hash, regardless of its owner.
pub(crate) async fn content(shared: Arc<Shared>, hash: String) -> Result<Deleted, StudioError> {
    let mut deleted = Deleted::default();
    for (id, position) in shared.store.images_named(&hash).await? {
        // The last one of its generation takes it along.
        end(&shared, &id).await?;
        let position = u32::try_from(position).unwrap_or(u32::MAX);
        deleted.images += u32::from(shared.store.delete_image(&id, position, None).await?);
    }
    deleted.uploads += u32::from(shared.store.delete_upload(&hash).await?);
    if deleted == Deleted::default() {
        return Err(StudioError::not_found("image", &hash));
    }
    tidy(&shared).await?;
    Ok(deleted)
}

/// Cancels what waits or runs, and waits until it has ended: within one step.
async fn end(shared: &Shared, id: &str) -> Result<(), StudioError> {
    let mut live = shared.work.subscribe(id)?;
    if requests::stop(shared, id).await? != Stopped::Stopping {
        return Ok(());
    }
    while shared.store.generation(id).await?.is_some_and(|row| !row.state().is_final()) {
        // The channel closes with the last event, or when the studio closes.
        if live.changed().await.is_err() {
            live = shared.work.subscribe(id)?;
        }
    }
    Ok(())
}

/// Removes what the rows that are gone leave behind.
async fn tidy(shared: &Shared) -> Result<(), StudioError> {
    remove_unused(&shared.store, &shared.blobs).await?;
    shared.store.empty_log().await;
    Ok(())
}
