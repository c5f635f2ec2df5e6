//! An image of a generation: followed step by step while the worker renders it, stored and published.

use adire_protocol::{Event, GenerationEvent, ImageRecord, Progress, Recipe, infotext};
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{
    AdapterFile, BackendError, RenderRequest, Rendered,
    blobs::Made,
    job::Lease,
    png::{data_url, encode_with_recipe},
    queue::{Hold, QueuedGeneration, Stop},
    shared::Shared,
    store::{Inserted, Written, image_url},
    timing::StepTimer,
    worker::RenderEvent,
};

/// What follows an image that has been started.
pub(crate) type Updates = mpsc::UnboundedReceiver<RenderEvent>;

/// Where an image stands among those that are made with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Its index in the generation.
    pub(crate) index: u32,
    /// Images of the generation that this run made before.
    pub(crate) here: u32,
    /// Images of the generation in this batch.
    pub(crate) batch: u32,
    /// Images in this batch.
    pub(crate) together: u32,
}

/// Follows the first image of a generation in a batch to its end, and publishes the progress of all of them.
pub(crate) async fn lead(
    shared: &Shared,
    generation: &QueuedGeneration,
    render: &RenderRequest,
    Place { index, here, batch, together }: Place,
    hold: &Hold,
    mut updates: Updates,
) -> Result<Rendered, Stop> {
    let mut timer = StepTimer::default();
    while let Some(update) = updates.recv().await {
        match update {
            RenderEvent::Step(step, since_start) => {
                timer.record_step(since_start);
                let progress = Progress {
                    image: index,
                    images: generation.spec.count,
                    batch,
                    step: step.step,
                    steps: step.steps,
                    remaining_ms: None,
                    // A few dozen pixels take well under a millisecond to encode, and the worker does not
                    // wait for it. When the next step has ended already, its preview is the one to show.
                    preview: step.preview.as_ref().filter(|_| updates.is_empty()).and_then(data_url),
                };
                shared.work.progress(&generation.id, progress, here, together, &timer);
            }
            RenderEvent::Ended(result, total) => {
                if result.is_ok() {
                    shared.work.record_timing(&render.spec, &timer, total, together);
                }
                return ended(result, hold);
            }
        }
    }
    Err(gone())
}

/// Waits for another image of it.
pub(crate) async fn follow(hold: &Hold, mut updates: Updates) -> Result<Rendered, Stop> {
    while let Some(update) = updates.recv().await {
        if let RenderEvent::Ended(result, _) = update {
            return ended(result, hold);
        }
    }
    Err(gone())
}

fn ended(result: Result<Rendered, BackendError>, hold: &Hold) -> Result<Rendered, Stop> {
    result.map_err(|error| match error {
        BackendError::Failed(message) => Stop::Failed(message),
        BackendError::Cancelled => {
            let nobody = || Stop::Failed("The engine stopped without being cancelled.".to_owned());
            hold.stopped().unwrap_or_else(nobody)
        }
    })
}

fn gone() -> Stop {
    Stop::Failed("The worker thread has stopped. Restart the server.".to_owned())
}

/// Stores a finished image and publishes it. With the `last` one the generation is done.
pub(crate) async fn store_image(
    shared: &Shared,
    generation: &QueuedGeneration,
    lease: &Lease,
    render: RenderRequest,
    (index, last): (u32, bool),
    Rendered { pixels, fingerprint, withheld, seconds, switch_seconds, switched, embeddings, warnings }: Rendered,
) -> Result<Written, Stop> {
    let model = &shared.model;
    let recipe = Recipe {
        spec: render.spec,
        adapter_hashes: render.adapters.into_iter().map(|AdapterFile { hash, .. }| hash).collect(),
        embeddings,
        vae: model.vae.clone(),
        model: model.name.clone(),
        model_hash: model.hash.clone(),
        device: model.device.clone(),
        dtype: model.dtype.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        fingerprint,
        withheld,
        // JSON has no infinity; a strange clock must not make the record unreadable.
        seconds: if seconds.is_finite() { seconds } else { 0.0 },
        switch_seconds: if switch_seconds.is_finite() { switch_seconds } else { 0.0 },
        warnings,
    };
    let _keeping = shared.blobs.keeping().await;
    let encode = move || Ok((Bytes::from(encode_with_recipe(&pixels, &recipe)?), recipe));
    let Made { hash, bytes: png, with: recipe, kept } = shared.blobs.put_made(encode).await?;
    let image = ImageRecord {
        url: image_url(&hash),
        hash,
        generation: generation.id.clone(),
        index,
        created_at: shared.work.image_time(),
        // As in the PNG file, whose entries cannot hold a NUL; PostgreSQL's text cannot either.
        infotext: infotext::format(&recipe).replace('\0', ""),
        recipe,
    };
    let least = shared.work.next_event(&generation.id);
    let visitor = generation.who.visitor.as_deref();
    let inserted = Inserted { switched, last };
    let written = shared.store.insert_image((lease, least), &image, visitor, inserted, kept).await?;
    shared.recent.keep(&image.hash, png);
    let event = GenerationEvent::Image { image: Box::new(image) };
    shared.work.stored(&generation.id, Event { id: written.event, event });
    Ok(written)
}
