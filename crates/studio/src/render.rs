//! Renders one image of a generation: run by the worker, reported step by step, stored and published.

use std::sync::{Arc, atomic::AtomicBool};

use adire_protocol::{GenerationEvent, ImageRecord, Progress, Recipe, infotext};

use crate::{
    AdapterFile, BackendError, RenderRequest, Rendered, StudioError,
    png::{data_url, encode_with_recipe},
    queue::{QueuedGeneration, Stop},
    shared::{Shared, blocking},
    store::image_url,
    timing::StepTimer,
    worker::RenderEvent,
};

/// Why rendering stopped early.
pub(crate) enum RenderError {
    Stopped(Stop),
    Failed(String),
}

impl From<StudioError> for RenderError {
    fn from(error: StudioError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Renders one image and publishes its progress.
pub(crate) async fn render_image(
    shared: &Shared,
    generation: &QueuedGeneration,
    render: &RenderRequest,
    (index, here): (u32, u32),
    stop: &Arc<AtomicBool>,
) -> Result<Rendered, RenderError> {
    if let Some(why) = shared.queue.stopped() {
        return Err(RenderError::Stopped(why));
    }
    let mut updates = shared.worker.render(render.clone(), stop.clone())?;
    let mut timer = StepTimer::default();
    while let Some(update) = updates.recv().await {
        match update {
            RenderEvent::Step(step, since_start) => {
                timer.record_step(since_start);
                let progress = Progress {
                    image: index,
                    images: generation.spec.count,
                    step: step.step,
                    steps: step.steps,
                    remaining_ms: None,
                    // A few dozen pixels take well under a millisecond to encode, and the worker does not
                    // wait for it. When the next step has ended already, its preview is the one to show.
                    preview: step.preview.as_ref().filter(|_| updates.is_empty()).and_then(data_url),
                };
                shared.queue.progress(progress, here, &timer);
            }
            RenderEvent::Ended(Ok(rendered), total) => {
                shared.queue.record_timing(&render.spec, &timer, total);
                return Ok(rendered);
            }
            RenderEvent::Ended(Err(BackendError::Failed(message)), _) => {
                return Err(RenderError::Failed(message));
            }
            RenderEvent::Ended(Err(BackendError::Cancelled), _) => {
                let nobody = || RenderError::Failed("The engine stopped without being cancelled.".to_owned());
                return Err(shared.queue.stopped().map_or_else(nobody, RenderError::Stopped));
            }
        }
    }
    Err(RenderError::Failed("The worker thread has stopped. Restart the server.".to_owned()))
}

/// Stores a finished image and publishes it.
pub(crate) async fn store_image(
    shared: &Shared,
    generation: &QueuedGeneration,
    render: RenderRequest,
    index: u32,
    Rendered { pixels, fingerprint, withheld, seconds, switch_seconds, embeddings, warnings }: Rendered,
    created_at: i64,
) -> Result<(), RenderError> {
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
    let blobs = shared.blobs.clone();
    let (png, recipe) = blocking(move || Ok((encode_with_recipe(&pixels, &recipe)?, recipe))).await?;
    let _keeping = shared.keeping.lock().await;
    let hash = blocking(move || blobs.put(&png)).await?;
    let image = ImageRecord {
        url: image_url(&hash),
        hash,
        generation: generation.id.clone(),
        index,
        created_at,
        // As in the PNG file, whose entries cannot hold a NUL; PostgreSQL's text cannot either.
        infotext: infotext::format(&recipe).replace('\0', ""),
        recipe,
    };
    let event = shared.queue.next_event(&generation.id);
    shared.store.insert_image(&image, generation.who.visitor.as_deref(), event).await?;
    shared.queue.publish(&generation.id, GenerationEvent::Image { image: Box::new(image) });
    Ok(())
}
