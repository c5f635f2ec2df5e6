//! The task between queue and worker: takes one job after the other, has its pictures made, stores each as
//! soon as it is finished and says so. It is the only one that writes rows of running jobs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use adire_protocol::{GenerationEvent, GenerationState, ImageRecord, Progress, Recipe, infotext};

use crate::{
    AdapterFile, BackendError, RenderJob, Rendered, StudioError,
    board::{Job, Stop},
    png::{data_url, encode_picture},
    shared::{Shared, blocking, now},
    store::Finish,
    timing::Laps,
    worker::Update,
};

/// Tries to write how a job ended, before giving up until the next start.
const TRIES: u32 = 4;

/// Why a job ended early.
enum Early {
    Stopped(Stop),
    Failed(String),
}

impl From<StudioError> for Early {
    fn from(error: StudioError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Serves the queue until the studio closes.
pub(crate) async fn run(shared: Arc<Shared>) {
    let clock = Clock(AtomicI64::new(shared.store.newest_image_at().await.unwrap_or(0)));
    while let Some((job, stop)) = shared.board.next().await {
        let id = job.id.clone();
        tracing::info!(generation = id, pictures = job.spec.count, steps = job.spec.steps, "started");
        match pictures(&shared, &job, &stop, &clock).await {
            Ok(()) => end(&shared, &id, GenerationEvent::Done).await,
            Err(Early::Stopped(Stop::Cancelled)) => end(&shared, &id, GenerationEvent::Cancelled).await,
            Err(Early::Failed(message)) => end(&shared, &id, GenerationEvent::Failed { message }).await,
            Err(Early::Stopped(Stop::Closing)) => {
                if let Err(error) = shared.store.put_back(&id).await {
                    // It stays `running`, which the next start treats the same, counting one attempt.
                    tracing::warn!(generation = id, %error, "could not be put back");
                }
            }
        }
    }
}

/// Writes and publishes the last event of a job.
pub(crate) async fn end(shared: &Shared, id: &str, event: GenerationEvent) {
    for attempt in 1..=TRIES {
        match write_end(shared, id, &event).await {
            Ok(()) => break,
            Err(error) => {
                tracing::error!(generation = id, %error, attempt, "its end could not be stored");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
    }
    // Published even when it could not be written: people who watch should not wait for ever. The row then
    // still says `running`, and the next start takes the job up again.
    tracing::info!(generation = id, state = event.name(), "ended");
    shared.board.publish(id, event);
}

/// Writes the row of a job's end.
pub(crate) async fn write_end(shared: &Shared, id: &str, event: &GenerationEvent) -> Result<(), StudioError> {
    let (state, error) = match event {
        GenerationEvent::Done => (GenerationState::Done, None),
        GenerationEvent::Cancelled => (GenerationState::Cancelled, None),
        GenerationEvent::Failed { message } => (GenerationState::Failed, Some(message.as_str())),
        _ => return Ok(()),
    };
    let event = shared.board.next_event(id);
    shared.store.finish(id, &Finish { state, at: now(), error, event }).await
}

/// Makes every picture of a job that is not there yet.
async fn pictures(shared: &Shared, job: &Job, stop: &Arc<AtomicBool>, clock: &Clock) -> Result<(), Early> {
    shared.store.start(&job.id, now(), shared.board.next_event(&job.id)).await?;
    shared.board.publish(&job.id, GenerationEvent::Started);
    let adapters = shared.adapter_files(&job.spec.adapters).await?;
    let left = (0..job.spec.count).filter(|index| !job.finished.contains(index));
    for (here, index) in (0..).zip(left) {
        let mut spec = job.spec.clone();
        // Validation leaves room above the seed for every picture.
        spec.seed = job.spec.seed.saturating_add(u64::from(index));
        spec.count = 1;
        let render = RenderJob { spec, adapters: adapters.clone() };
        let rendered = one(shared, job, &render, (index, here), stop).await?;
        let at = clock.tick();
        store(shared, job, render, index, rendered, at).await?;
    }
    Ok(())
}

/// Makes one picture and publishes its steps.
async fn one(
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
                    // A few dozen pixels: encoding them takes less than a millisecond, and the worker
                    // does not wait for it.
                    preview: step.preview.as_ref().and_then(data_url),
                };
                shared.board.progress(progress, here, &laps);
            }
            Update::Ended(Ok(rendered), total) => {
                if let Some(cost) = shared.board.learn(&render.spec, &laps, total) {
                    shared.remember(cost).await;
                }
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

/// Stores a finished picture and publishes it.
async fn store(
    shared: &Shared,
    job: &Job,
    render: RenderJob,
    index: u32,
    Rendered { pixels, seconds }: Rendered,
    created_at: i64,
) -> Result<(), Early> {
    let model = &shared.model;
    let recipe = Recipe {
        spec: render.spec,
        adapter_hashes: render.adapters.into_iter().map(|AdapterFile { hash, .. }| hash).collect(),
        model: model.name.clone(),
        model_hash: model.hash.clone(),
        device: model.device.clone(),
        dtype: model.dtype.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        // JSON has no infinity; a strange clock must not make the record unreadable.
        seconds: if seconds.is_finite() { seconds } else { 0.0 },
    };
    let blobs = shared.blobs.clone();
    let (hash, recipe) = blocking(move || {
        let png = encode_picture(&pixels, &recipe)?;
        Ok((blobs.put(&png)?, recipe))
    })
    .await?;
    let image = ImageRecord {
        url: crate::store::image_url(&hash),
        hash,
        generation: job.id.clone(),
        index,
        created_at,
        infotext: infotext::format(&recipe),
        recipe,
    };
    let event = shared.board.next_event(&job.id);
    shared.store.insert_image(&image, job.visitor.as_deref(), event).await?;
    shared.board.publish(&job.id, GenerationEvent::Image { image: Box::new(image) });
    Ok(())
}

/// Times of pictures: each later than the one before, even within a millisecond or after the system's clock
/// was set back, because the history pages by them.
struct Clock(AtomicI64);

impl Clock {
    fn tick(&self) -> i64 {
        let next = now().max(self.0.load(Ordering::Relaxed) + 1);
        self.0.store(next, Ordering::Relaxed);
        next
    }
}
