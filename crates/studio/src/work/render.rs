//! An image of a generation: followed step by step while the worker renders it, stored and published.

use std::{collections::BTreeMap, time::Duration};

use adire_protocol::{Event, GenerationEvent, ImageRecord, Progress, Recipe, infotext};
use bytes::Bytes;

use crate::{
    AdapterFile, BackendError, RenderRequest, RenderStep, Rendered, StudioError, blobs,
    job::Lease,
    png::{data_url, encode_with_recipe},
    queue::{Counts, Hold, QueuedGeneration, Stop},
    shared::Shared,
    store::{Inserted, Written, image_url},
    timing::StepTimer,
    worker::{RenderEvent, Updates},
};

/// Images of a generation that have been started.
#[derive(Default)]
pub(crate) struct Started {
    /// Their indices in the generation, and what was requested.
    images: Vec<(u32, RenderRequest)>,
    /// What the worker says of them.
    updates: Option<Updates>,
    /// Generations whose images were started at once.
    generations: u32,
    /// Whether the time of this one's first image is that of a batch's first image.
    times: bool,
}

/// Starts images of generations, which must share a batch if there are several, with what stops each generation.
pub(crate) fn start(
    shared: &Shared,
    groups: Vec<(Vec<(u32, RenderRequest)>, &Hold)>,
) -> Result<Vec<Started>, StudioError> {
    let jobs = groups.iter().map(|(images, hold)| {
        images.iter().map(|(_, request)| (request.clone(), hold.stop.clone())).collect()
    });
    let followed = shared.worker.render_groups(jobs.collect())?;
    let generations = groups.iter().filter(|(images, _)| !images.is_empty()).count() as u32;
    let mut times = true;
    let started = |((images, _), updates): ((Vec<_>, _), _)| {
        let times = !images.is_empty() && std::mem::take(&mut times);
        Started { images, updates: Some(updates), generations, times }
    };
    Ok(groups.into_iter().zip(followed).map(started).collect())
}

/// An image that is there.
pub(crate) struct Made {
    pub(crate) index: u32,
    pub(crate) request: RenderRequest,
    pub(crate) rendered: Rendered,
}

/// Started images, followed to their ends.
pub(crate) struct Following<'a> {
    shared: &'a Shared,
    generation: &'a QueuedGeneration,
    /// Those that have not ended; `None` for the others.
    images: Vec<Option<(u32, RenderRequest)>>,
    /// Those that the device is at.
    under_way: BTreeMap<usize, UnderWay>,
    updates: Option<Updates>,
    generations: u32,
    times: bool,
}

/// An image that is being made.
struct UnderWay {
    together: u32,
    timer: StepTimer,
}

impl<'a> Following<'a> {
    pub(crate) fn new(shared: &'a Shared, generation: &'a QueuedGeneration, started: Started) -> Self {
        let Started { images, updates, generations, times } = started;
        let images = images.into_iter().map(Some).collect();
        Self { shared, generation, images, under_way: BTreeMap::new(), updates, generations, times }
    }

    /// Whether all have ended.
    pub(crate) fn is_over(&self) -> bool {
        self.images.iter().all(Option::is_none)
    }

    /// The next one that is made; publishes the progress of those that are under way meanwhile. `here`: images that this run made
    /// before.
    pub(crate) async fn next(&mut self, hold: &Hold, here: u32) -> Result<Option<Made>, Stop> {
        while !self.is_over() {
            let Some(updates) = &mut self.updates else { return Err(gone()) };
            let (place, event) = updates.recv().await.ok_or_else(gone)?;
            match event {
                RenderEvent::Begun(together) => {
                    // Begun once more: nothing came of the batch that it was in.
                    if self.under_way.contains_key(&place) {
                        self.under_way.clear();
                    }
                    self.under_way.insert(place, UnderWay { together, timer: StepTimer::default() });
                }
                RenderEvent::Step(step, since) => self.step(place, &step, since, here),
                RenderEvent::Ended(result, total) => {
                    let (image, under_way) = (self.images[place].take(), self.under_way.remove(&place));
                    let rendered = ended(result, hold)?;
                    let Some((index, request)) = image else { continue };
                    // Those after it have waited for it to be decoded.
                    if let Some(UnderWay { together, timer }) = under_way
                        && std::mem::take(&mut self.times)
                    {
                        self.shared.work.record_timing(&request.spec, &timer, total, together);
                    }
                    return Ok(Some(Made { index, request, rendered }));
                }
            }
        }
        Ok(None)
    }

    /// The first of those under way stands for them all.
    fn step(&mut self, place: usize, step: &RenderStep, since: Duration, here: u32) {
        let batch = self.under_way.len() as u32;
        let is_first = self.under_way.first_key_value().is_some_and(|(first, _)| *first == place);
        let Some(UnderWay { together, timer }) = self.under_way.get_mut(&place) else { return };
        timer.record_step(since);
        let Some((index, _)) = self.images[place].as_ref().filter(|_| is_first) else { return };
        // A few dozen pixels take well under a millisecond to encode, and the worker does not wait for it. When more has
        // happened already, a later preview is the one to show.
        let shows = self.updates.as_ref().is_some_and(Updates::is_empty);
        let progress = Progress {
            image: *index,
            images: self.generation.spec.count,
            batch,
            step: step.step,
            steps: step.steps,
            remaining_ms: None,
            preview: step.preview.as_ref().filter(|_| shows || batch > 1).and_then(data_url),
        };
        let counts = Counts { here, together: *together, generations: self.generations };
        self.shared.work.progress(&self.generation.id, progress, counts, timer);
    }
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
    let blobs::Made { hash, bytes: png, with: recipe, kept } = shared.blobs.put_made(encode).await?;
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
