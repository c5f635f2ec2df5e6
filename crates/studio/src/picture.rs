//! One image of a job: made by the worker, followed step by step, stored and published.

use std::sync::{Arc, atomic::AtomicBool};

use adire_protocol::{GenerationEvent, ImageRecord, Progress, Recipe, infotext};

use crate::{
    AdapterFile, BackendError, RenderJob, Rendered, StudioError,
    board::{Job, Stop},
    png::{data_url, encode_picture},
    shared::{Shared, blocking},
    store::image_url,
    timing::Laps,
    worker::Update,
};

/// Why a job ended early.
pub(crate) enum Early {
    Stopped(Stop),
    Failed(String),
}

impl From<StudioError> for Early {
    fn from(error: StudioError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Makes one image and publishes its steps.
pub(crate) async fn make(
    shared: &Shared,
    job: &Job,
    render: &RenderJob,
    (index, here): (u32, u32),
    stop: &Arc<AtomicBool>,
) -> Result<Rendered, Early> {
    if let Some(why) = shared.board.stopped() {
        return Err(Early::Stopped(why));
    }
    let mut updates = shared.worker.render(render.clone(), stop.clone())?;
    let mut laps = Laps::default();
    while let Some(update) = updates.recv().await {
        match update {
            Update::Step(step, since_start) => {
                laps.lap(since_start);
                let progress = Progress {
                    image: index,
                    images: job.spec.count,
                    step: step.step,
                    steps: step.steps,
                    remaining_ms: None,
                    // A few dozen pixels take well under a millisecond to encode, and the worker does not
                    // wait for it. When the next step has ended already, its preview is the one to show.
                    preview: step.preview.as_ref().filter(|_| updates.is_empty()).and_then(data_url),
                };
                shared.board.progress(progress, here, &laps);
            }
            Update::Ended(Ok(rendered), total) => {
                shared.board.learn(&render.spec, &laps, total);
                return Ok(rendered);
            }
            Update::Ended(Err(BackendError::Failed(message)), _) => return Err(Early::Failed(message)),
            Update::Ended(Err(BackendError::Cancelled), _) => {
                let nobody =
                    || Early::Failed("The engine stopped although nobody had asked it to.".to_owned());
                return Err(shared.board.stopped().map_or_else(nobody, Early::Stopped));
            }
        }
    }
    Err(Early::Failed("The model's thread has ended. Start the server again.".to_owned()))
}

/// Stores a finished image and publishes it.
pub(crate) async fn store(
    shared: &Shared,
    job: &Job,
    render: RenderJob,
    index: u32,
    Rendered { pixels, fingerprint, withheld, seconds, switch_seconds, embeddings, warnings }: Rendered,
    created_at: i64,
) -> Result<(), Early> {
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
    let (png, recipe) = blocking(move || Ok((encode_picture(&pixels, &recipe)?, recipe))).await?;
    let _keeping = shared.keeping.lock().await;
    let hash = blocking(move || blobs.put(&png)).await?;
    let image = ImageRecord {
        url: image_url(&hash),
        hash,
        generation: job.id.clone(),
        index,
        created_at,
        infotext: infotext::format(&recipe),
        recipe,
    };
    let event = shared.board.next_event(&job.id);
    shared.store.insert_image(&image, job.who.visitor.as_deref(), event).await?;
    shared.board.publish(&job.id, GenerationEvent::Image { image: Box::new(image) });
    Ok(())
}
