//! What can be asked about generations and images: rows, joined with what the queue knows.

use std::path::PathBuf;

use adire_protocol::{Event, Generation, GenerationEvent, GenerationState, ImageRecord, Links, QueueEntry};

use crate::{
    EventStream, StudioError,
    log::{follow, replay},
    queue::QueuedGeneration,
    shared::{Shared, blocking},
    store::{GenerationRow, ImageRow},
};

/// Characters of a prompt that the queue's list shows.
const PROMPT_SHOWN: usize = 200;

/// A generation as it stands.
pub(crate) async fn generation(shared: &Shared, id: &str) -> Result<Generation, StudioError> {
    let row = shared.store.generation(id).await?.ok_or_else(|| not_found("generation", id))?;
    assemble(shared, row).await
}

/// Everything that waits or runs, in the order in which it is made.
pub(crate) fn queue(shared: &Shared) -> Vec<QueueEntry> {
    let entry = |(queued, runs): (QueuedGeneration, bool)| {
        let place = shared.queue.position(&queued.id);
        QueueEntry {
            state: if runs { GenerationState::Running } else { GenerationState::Queued },
            cost: queued.cost(),
            prompt: queued.spec.prompt.chars().take(PROMPT_SHOWN).collect(),
            width: queued.spec.final_size().0,
            height: queued.spec.final_size().1,
            steps: queued.spec.total_steps(),
            count: queued.spec.count,
            created_at: queued.created_at,
            wait_ms: place.and_then(|(_, wait_ms)| wait_ms),
            progress: shared.queue.running(&queued.id),
            links: Links::of(&queued.id),
            visitor: queued.who.visitor,
            network: queued.who.network,
            id: queued.id,
        }
    };
    shared.queue.generations().into_iter().map(entry).collect()
}

/// A visitor's generations that wait or run, oldest first.
pub(crate) async fn active(shared: &Shared, visitor: &str) -> Result<Vec<Generation>, StudioError> {
    let mut found = Vec::new();
    for row in shared.store.active(visitor).await? {
        found.push(assemble(shared, row).await?);
    }
    Ok(found)
}

async fn assemble(shared: &Shared, row: GenerationRow) -> Result<Generation, StudioError> {
    let images = shared.store.images_of(&row.id).await?;
    let (state, spec) = (row.state(), row.spec()?);
    let place = if state == GenerationState::Queued { shared.queue.position(&row.id) } else { None };
    let progress = if state == GenerationState::Running { shared.queue.running(&row.id) } else { None };
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
        started_at: row.started_at,
        finished_at: row.finished_at,
        ahead: place.map(|(ahead, _)| ahead),
        wait_ms: place.and_then(|(_, wait_ms)| wait_ms),
        progress,
        images,
        error: row.error,
        warnings,
        id: row.id,
    })
}

/// The events of a generation: live from its log, or made from its rows once it has ended.
pub(crate) async fn events(shared: &Shared, id: &str, after: u64) -> Result<EventStream, StudioError> {
    // A log is there before its row, and goes after the row says how it ended. So who finds no log and then a row that has
    // not ended has looked before both or after both, and knows by looking once more.
    for _ in 0..2 {
        if let Some(log) = shared.queue.log(id) {
            return Ok(follow(log, after));
        }
        let row = shared.store.generation(id).await?.ok_or_else(|| not_found("generation", id))?;
        if row.state().is_final() {
            return Ok(replay(ended(shared, &row).await?, after));
        }
    }
    if shared.queue.is_closing() {
        return Err(StudioError::ShuttingDown);
    }
    Err(StudioError::Storage(
        "The result of this generation could not be stored; it resumes after restart.".to_owned(),
    ))
}

/// The lasting events of a generation that has ended, with the numbers they had when they happened.
async fn ended(shared: &Shared, row: &GenerationRow) -> Result<Vec<Event>, StudioError> {
    let last = match row.state() {
        GenerationState::Done => GenerationEvent::Done,
        GenerationState::Cancelled => GenerationEvent::Cancelled,
        _ => GenerationEvent::Failed { message: row.error.clone().unwrap_or_default() },
    };
    let mut events = vec![Event { id: 1, event: GenerationEvent::Queued { ahead: 0, wait_ms: Some(0) } }];
    events.extend(images(shared, &row.id).await?);
    if let Some(id) = row.started_event {
        events.push(Event { id: id.cast_unsigned(), event: GenerationEvent::Started });
    }
    // Images of a run before a restart have lower numbers than the last start.
    events.sort_by_key(|event| event.id);
    events.push(Event { id: row.final_event.unwrap_or(i64::MAX).cast_unsigned(), event: last });
    Ok(events)
}

/// The events of the finished images of a generation.
pub(crate) async fn images(shared: &Shared, id: &str) -> Result<Vec<Event>, StudioError> {
    let rows = shared.store.images_of(id).await?;
    rows.into_iter()
        .map(|row| {
            let id = row.event.cast_unsigned();
            Ok(Event { id, event: GenerationEvent::Image { image: Box::new(row.record()?) } })
        })
        .collect()
}

/// Where the PNG file of an image lies, made here (samples of trainings included) or uploaded.
pub(crate) async fn image_file(shared: &Shared, hash: &str) -> Result<PathBuf, StudioError> {
    // Adapters are blobs too and are not given out under an image's name, hence the look at the rows.
    let is_image = shared.blobs.path(hash).is_some()
        && (shared.store.has_image(hash).await?
            || shared.store.has_upload(hash).await?
            || shared.store.has_sample(hash).await?);
    if !is_image {
        return Err(not_found("image", hash));
    }
    let path = shared.blobs.path(hash);
    let there = blocking(move || Ok(path.filter(|path| path.is_file()))).await?;
    there.ok_or_else(|| {
        StudioError::Storage(format!("The file of image {hash} is missing; restore the data folder's blobs."))
    })
}

pub(crate) fn not_found(what: &'static str, id: &str) -> StudioError {
    StudioError::NotFound { what, id: id.chars().take(80).collect() }
}
