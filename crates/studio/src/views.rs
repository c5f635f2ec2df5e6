//! What can be asked about generations and images: rows, joined with what the queue knows.

use std::sync::Arc;

use adire_protocol::{Generation, GenerationState, ImageRecord, Links, QueueEntry};
use bytes::Bytes;

use crate::{
    Blob, EventStream, StudioError, events,
    queue::QueuedGeneration,
    shared::Shared,
    store::{GenerationRow, ImageRow},
};

/// Characters of a prompt that the queue's list shows.
const PROMPT_SHOWN: usize = 200;

/// A generation as it stands.
pub(crate) async fn generation(shared: &Shared, id: &str) -> Result<Generation, StudioError> {
    let found = shared.store.generation_and_images(id).await?;
    let (row, images) = found.ok_or_else(|| StudioError::not_found("generation", id))?;
    assemble(shared, row, images).await
}

/// Everything that waits or runs, in the order in which it is made.
pub(crate) fn queue(shared: &Shared) -> Vec<QueueEntry> {
    let entry = |(queued, runs): (QueuedGeneration, bool)| {
        let place = shared.work.place(&queued.id);
        QueueEntry {
            state: if runs { GenerationState::Running } else { GenerationState::Queued },
            cost: queued.cost(),
            prompt: queued.spec.prompt.chars().take(PROMPT_SHOWN).collect(),
            width: queued.spec.final_size().0,
            height: queued.spec.final_size().1,
            steps: queued.spec.total_steps(),
            count: queued.spec.count,
            created_at: queued.created_at,
            wait_ms: place.and_then(|place| place.wait_ms),
            progress: shared.work.running(&queued.id),
            links: Links::of(&queued.id),
            visitor: queued.who.visitor,
            network: queued.who.network,
            id: queued.id,
        }
    };
    shared.work.generations().into_iter().map(entry).collect()
}

/// A visitor's generations that wait or run, oldest first.
pub(crate) async fn active(shared: &Shared, visitor: &str) -> Result<Vec<Generation>, StudioError> {
    let mut found = Vec::new();
    for row in shared.store.active(visitor).await? {
        let images = shared.store.images_of(&row.id).await?;
        found.push(assemble(shared, row, images).await?);
    }
    Ok(found)
}

async fn assemble(
    shared: &Shared,
    row: GenerationRow,
    images: Vec<ImageRow>,
) -> Result<Generation, StudioError> {
    let (state, spec) = (row.state(), row.spec()?);
    let place = if state == GenerationState::Queued { shared.work.place(&row.id) } else { None };
    let progress = if state == GenerationState::Running { shared.work.running(&row.id) } else { None };
    let images: Vec<ImageRecord> = images.into_iter().map(ImageRow::record).collect::<Result<_, _>>()?;
    // What the images say, or before the first one what is known of the files.
    let warnings = match images.first() {
        Some(image) => image.recipe.warnings.clone(),
        None => crate::adapters::warnings(shared, &spec.adapters).await?,
    };
    Ok(Generation {
        links: Links::of(&row.id),
        state,
        spec,
        created_at: row.created_at,
        // Of an earlier run, while it waits again.
        started_at: row.started_at.filter(|_| state != GenerationState::Queued),
        finished_at: row.finished_at,
        ahead: place.map(|place| place.ahead),
        wait_ms: place.and_then(|place| place.wait_ms),
        wait_reason: place.map_or_else(|| shared.work.delay(&row.id), |place| place.reason),
        progress,
        images,
        error: row.error,
        warnings,
        id: row.id,
    })
}

/// The events of a generation above `after`.
pub(crate) async fn events(shared: &Arc<Shared>, id: &str, after: u64) -> Result<EventStream, StudioError> {
    if !shared.work.follows(id) {
        shared.store.generation(id).await?.ok_or_else(|| StudioError::not_found("generation", id))?;
    }
    events::follow_generation(shared.clone(), id, after)
}

/// The PNG file of an image, made here (samples of trainings included) or uploaded.
pub(crate) async fn image_file(shared: &Shared, hash: &str) -> Result<Blob, StudioError> {
    // Adapters are blobs too and are not given out under an image's name, hence the look at the rows.
    let is_image = shared.store.has_image(hash).await?
        || shared.store.has_upload(hash).await?
        || shared.store.has_sample(hash).await?
        || shared.store.has_smoke_image(hash).await?
        || shared.store.has_evaluation_image(hash).await?
        || shared.store.has_shadow_image(hash).await?;
    if !is_image {
        return Err(StudioError::not_found("image", hash));
    }
    blob_of_image(shared, hash).await
}

/// The content of the PNG file of an image that there is.
pub(crate) async fn file_of_image(shared: &Shared, hash: &str) -> Result<Bytes, StudioError> {
    match shared.recent.get(hash) {
        Some(file) => Ok(file),
        None => Ok(blob_of_image(shared, hash).await?.bytes().await?.into()),
    }
}

async fn blob_of_image(shared: &Shared, hash: &str) -> Result<Blob, StudioError> {
    shared.blobs.get(hash).await?.ok_or_else(|| {
        StudioError::Damaged(format!("The file of image {hash} is missing; restore it from a backup."))
    })
}
