//! Training runs: a job whose units are small (an image prepared, a held-out place, a micro-step, a sample). After each
//! unit what it has found is written before the next one is begun, so that whatever a checkpoint holds is in the store, too.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use adire_protocol::{QueuedKind, TrainingPhase, TrainingPoint, TrainingRequest, TrainingSample, WaitReason};
use futures::future::BoxFuture;

use super::kind::{Entry, Kind, OnDevice, Progressed, Run, Turn, Wait, behind};
use crate::{
    AdapterFile, KnownResults, NewAdapter, StudioError, TrainingImage, TrainingTask, UnitOutcome, adapters,
    additions,
    blobs::Local,
    dataset::text_of,
    folder::reason,
    job::{Claimed, JobKind, JobState},
    png::encode_bare,
    queue::{Hold, Stop},
    shared::Shared,
    store::{About, OpenJob, RunRow, image_url},
    tasks::blocking,
    training_control::ActiveRun,
    worker::Interrupted,
};

/// Milliseconds that a step is taken for. Only their ratios matter.
const STEP_MS: i64 = 1_000;

/// Expected milliseconds of a run.
pub(crate) fn expected_training_ms(request: &TrainingRequest) -> i64 {
    (STEP_MS * i64::from(request.config.steps)).max(1)
}

/// Training runs: one at a time, between generations.
pub(super) struct Trainings;

impl Kind for Trainings {
    fn kind(&self) -> JobKind {
        JobKind::Training
    }

    fn about(&self) -> About {
        About::TRAINING
    }

    fn entry(&self, job: &OpenJob) -> Result<Entry, StudioError> {
        let request: TrainingRequest = job.read("training run")?;
        Ok(Entry {
            kind: QueuedKind::Training,
            detail: format!("training, {} steps", request.config.steps),
            title: request.name,
            page: format!("/admin/training/{}", job.id),
        })
    }

    fn wait<'a>(
        &'a self,
        shared: &'a Shared,
        _job: &'a OpenJob,
        before: &'a [OpenJob],
    ) -> BoxFuture<'a, Result<Wait, StudioError>> {
        Box::pin(async move {
            let shares = match shared.training.settings().yield_to_generations {
                true => "; runs while no generation waits",
                false => "; takes turns with generations",
            };
            Ok(Wait { why: behind(before) + shares, ms: wait_ms(shared, before).await? })
        })
    }

    fn advice(&self) -> &'static str {
        "It may need more memory than is available; try a smaller resolution, a smaller batch size or gradient \
         checkpointing."
    }

    fn cancelled_from(&self) -> &'static [JobState] {
        &[JobState::Queued, JobState::Paused, JobState::Failed]
    }

    fn rested<'a>(&'a self, shared: &'a Shared, id: &'a str, state: Option<JobState>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if matches!(state, Some(JobState::Done | JobState::Cancelled)) {
                shared.training.forget_checkpoint(id).await;
            }
            shared.training.forget(id);
            shared.work.waits(self.kind());
        })
    }

    fn on_device(&'static self) -> Option<&'static dyn OnDevice> {
        Some(self)
    }
}

impl OnDevice for Trainings {
    fn begin<'a>(
        &'a self,
        shared: &'a Arc<Shared>,
        _claimed: Claimed,
        hold: Arc<Hold>,
    ) -> BoxFuture<'a, Result<Box<dyn Run>, Stop>> {
        Box::pin(async move {
            let run: Box<dyn Run> = Box::new(TrainingRun::begin(shared, hold).await?);
            Ok(run)
        })
    }

    fn unit_reason(&self) -> Option<WaitReason> {
        Some(WaitReason::TrainingStep)
    }

    fn turn(&self, shared: &Shared, last: Option<JobKind>) -> Turn {
        match shared.training.settings().yield_to_generations {
            false if last == Some(JobKind::Generation) => Turn::First,
            true if shared.work.is_busy() => Turn::NotNow,
            _ => Turn::InOrder,
        }
    }
}

/// Expected milliseconds of the runs in `before`, by the pace of the one that runs; `None` before that is known.
async fn wait_ms(shared: &Shared, before: &[OpenJob]) -> Result<Option<u64>, StudioError> {
    let (mut steps, mut pace) = (0.0, None);
    for job in before {
        let request: TrainingRequest = job.read("training run")?;
        let mut left = f64::from(request.config.steps);
        if job.is_running()
            && let Some(row) = shared.store.run(&job.id).await?
        {
            let facts = shared.store.run_facts(Some(&job.id)).await?.into_iter().next().unwrap_or_default();
            let forecast = row.forecast()?.map(|forecast| forecast.seconds / left.max(1.0));
            pace = facts.recent_seconds.or(forecast);
            left -= row.step as f64;
        }
        steps += left.max(0.0);
    }
    let known = pace.filter(|pace| pace.is_finite() && *pace >= 0.0);
    Ok(if before.is_empty() { Some(0) } else { known.map(|seconds| (seconds * steps * 1e3).round() as u64) })
}

/// A training run that this node executes.
struct TrainingRun {
    hold: Arc<Hold>,
    row: RunRow,
    /// What the end and the samples need of the task, once the backend has begun it.
    begun: Option<Begun>,
    since_update: Duration,
    /// Since when it gives way to generations.
    yields: Option<Instant>,
    waited_ms: i64,
    /// What it has made, at its end.
    version: Option<String>,
}

struct Begun {
    name: String,
    trigger: String,
    images: usize,
    steps: u32,
    prompts: Vec<String>,
}

impl TrainingRun {
    async fn begin(shared: &Shared, hold: Arc<Hold>) -> Result<Self, StudioError> {
        let missing = || StudioError::not_found("training run", &hold.lease.job);
        let row = shared.store.run(&hold.lease.job).await?.ok_or_else(missing)?;
        tracing::info!(training = row.id, "started");
        let active = ActiveRun {
            id: row.id.clone(),
            stage: TrainingPhase::Preparing { done: 0, total: 0 },
            unit: Duration::ZERO,
            waited_ms: row.waited_ms,
        };
        *shared.training.active() = Some(active);
        shared.work.notify_all();
        let (since_update, waited_ms) = (Duration::ZERO, row.waited_ms);
        Ok(Self { hold, row, begun: None, since_update, yields: None, waited_ms, version: None })
    }

    async fn advance(&mut self, shared: &Arc<Shared>) -> Result<Progressed, Stop> {
        self.note_waiting(shared).await?;
        let Some(begun) = &self.begun else {
            let task = task(shared, &self.row).await?;
            self.begun = Some(Begun {
                name: task.name.clone(),
                trigger: task.trigger.clone(),
                images: task.images.len(),
                steps: task.config.steps,
                prompts: task.config.sample_prompts.clone(),
            });
            shared.worker.begin_training(task).await??;
            return Ok(Progressed::More);
        };
        let (waiter, hold) = (shared.clone(), self.hold.clone());
        let interrupted: Interrupted = Arc::new(move || waiter.work.is_busy() || hold.stopped().is_some());
        let (update, took) = shared.worker.advance_training(interrupted).await??;
        self.since_update += took;
        if let Some(active) = shared.training.active().as_mut() {
            // The longest of late, slowly forgotten.
            active.unit = took.max(active.unit.mul_f64(0.95));
            active.stage = stage(&update, active.stage);
        }
        let (id, lease) = (self.row.id.as_str(), &self.hold.lease);
        match update {
            UnitOutcome::Step | UnitOutcome::PutOff => return Ok(Progressed::More),
            UnitOutcome::ClassImage { .. }
            | UnitOutcome::Preparing { .. }
            | UnitOutcome::Measuring { .. } => {}
            UnitOutcome::Ready { step, instances, held_out, truncated } => {
                tracing::info!(training = id, step, instances, held_out, truncated, "ready");
                shared.store.rewind_run(lease, step, false).await?;
            }
            UnitOutcome::Forecast(forecast) => shared.store.save_forecast(lease, &forecast).await?,
            UnitOutcome::HeldOut { step, loss } => {
                let point = TrainingPoint { step, held_out_loss: Some(loss), ..TrainingPoint::default() };
                shared.store.save_point(lease, &point).await?;
            }
            UnitOutcome::Updated(point) => {
                let seconds = Some(self.since_update.as_secs_f64());
                shared.store.save_point(lease, &TrainingPoint { seconds, ..point }).await?;
            }
            UnitOutcome::Rewound { step } => {
                tracing::warn!(
                    training = id,
                    step,
                    "loss is NaN or infinite: rolled back at half the learning rate"
                );
                shared.store.rewind_run(lease, step, true).await?;
            }
            UnitOutcome::Saved { step } => {
                tracing::debug!(training = id, step, steps = begun.steps, "saved");
                shared.store.save_gain(lease).await?;
            }
            UnitOutcome::Sample { step, prompt_index, with_adapter, pixels } => {
                let png = blocking(move || encode_bare(&pixels)).await?;
                let _keeping = shared.blobs.keeping().await;
                let hash = shared.blobs.put(png).await?;
                let prompt = begun.prompts.get(prompt_index as usize).cloned().unwrap_or_default();
                let url = image_url(&hash);
                let sample = TrainingSample { step, prompt, prompt_index, with_adapter, hash, url };
                shared.store.save_sample(lease, &sample).await?;
            }
            UnitOutcome::Finished { adapter } => {
                let note = self.row.request()?.note;
                let description = if note.is_empty() {
                    format!("Trained here on {} images in {} steps.", begun.images, begun.steps)
                } else {
                    note
                };
                let (name, trigger) = (begun.name.clone(), begun.trigger.clone());
                let new =
                    NewAdapter { name, version: None, path: adapter, description, trigger, strict: false };
                self.version = Some(additions::add(shared.clone(), new, None).await?.id());
                return Ok(Progressed::Done);
            }
        }
        self.since_update = Duration::ZERO;
        shared.work.notify(id);
        Ok(Progressed::More)
    }

    async fn note_waiting(&mut self, shared: &Shared) -> Result<(), Stop> {
        let Some(since) = self.yields.take() else { return Ok(()) };
        self.waited_ms += i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
        if let Some(active) = shared.training.active().as_mut() {
            active.waited_ms = self.waited_ms;
        }
        Ok(shared.store.save_waited(&self.hold.lease, self.waited_ms).await?)
    }
}

impl Run for TrainingRun {
    fn hold(&self) -> &Arc<Hold> {
        &self.hold
    }

    fn unit<'a>(&'a mut self, shared: &'a Arc<Shared>) -> BoxFuture<'a, Result<Progressed, Stop>> {
        Box::pin(self.advance(shared))
    }

    fn give_way(&mut self, shared: &Shared) {
        if self.yields.is_none() {
            self.yields = Some(Instant::now());
            shared.training.set_phase(TrainingPhase::Yielding);
            shared.work.notify(&self.row.id);
        }
    }

    /// Writes a checkpoint.
    fn save<'a>(&'a mut self, shared: &'a Shared) -> BoxFuture<'a, Result<(), StudioError>> {
        Box::pin(async move {
            if self.begun.is_some()
                && let Err(error) = shared.worker.save_training().await?
            {
                // The checkpoint before is still there; somewhat more is computed again.
                tracing::warn!(%error, "no checkpoint was written at the end");
            }
            Ok(())
        })
    }

    fn end(&mut self, shared: &Shared) {
        shared.worker.end_training();
    }

    fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

fn stage(update: &UnitOutcome, before: TrainingPhase) -> TrainingPhase {
    match update {
        UnitOutcome::ClassImage { done, total } => {
            TrainingPhase::GeneratingClassImages { done: *done, total: *total }
        }
        UnitOutcome::PutOff if matches!(before, TrainingPhase::GeneratingClassImages { .. }) => before,
        UnitOutcome::Preparing { done, total } => TrainingPhase::Preparing { done: *done, total: *total },
        UnitOutcome::Ready { .. } => TrainingPhase::Forecasting,
        UnitOutcome::Measuring { done, total } => TrainingPhase::Measuring { done: *done, total: *total },
        UnitOutcome::Sample { .. } | UnitOutcome::PutOff => TrainingPhase::Sampling,
        UnitOutcome::Saved { .. } => before,
        // One of those that are undone.
        UnitOutcome::Step if before == TrainingPhase::Forecasting => before,
        _ => TrainingPhase::Training,
    }
}

/// Builds the backend's task.
async fn task(shared: &Shared, row: &RunRow) -> Result<TrainingTask, Stop> {
    let request = row.request()?;
    let dataset = shared.datasets.row(&request.dataset).await?;
    let images = images(shared, &request.dataset, &dataset.caption, &dataset.trigger_word).await?;
    let classes = match &request.class_dataset {
        Some(id) => {
            let class = shared.datasets.row(id).await?;
            let caption = request.class_prompt.as_deref().unwrap_or(&class.caption);
            self::images(shared, id, caption, &class.trigger_word).await?
        }
        None => Vec::new(),
    };
    let continue_from = match &request.continue_from {
        Some(name) => {
            let known = shared.store.adapters().await?;
            let version = adapters::resolve(&known, name)?;
            let path = adapters::local(&shared.blobs, version).await?;
            let (id, hash) = (version.id(), version.hash.clone());
            Some(AdapterFile { id, hash, path, strength: 1.0, te_strength: 1.0 })
        }
        None => None,
    };
    let folder = shared.training.folder_of(&row.id);
    let made = folder.clone();
    blocking(move || {
        fs::create_dir_all(&made).map_err(|error| {
            StudioError::Storage(format!("Cannot create {}: {}.", made.display(), reason(&error)))
        })
    })
    .await?;
    let points = shared.store.points(&row.id, 0).await?;
    let samples = shared.store.samples(&row.id, 0).await?;
    let known = KnownResults {
        held_out: points.iter().filter_map(|(_, point)| Some((point.step, point.held_out_loss?))).collect(),
        samples: samples.iter().map(|(_, s)| (s.step, s.prompt_index, s.with_adapter)).collect(),
        forecast: row.forecast()?.is_some(),
    };
    Ok(TrainingTask {
        name: request.name,
        trigger: dataset.trigger_word,
        config: request.config,
        dataset_hash: row.dataset_hash.clone(),
        images,
        classes,
        class_prompt: request.class_prompt.unwrap_or_default(),
        continue_from,
        folder,
        known,
    })
}

async fn images(
    shared: &Shared,
    dataset: &str,
    caption: &str,
    trigger: &str,
) -> Result<Vec<TrainingImage>, StudioError> {
    let rows = shared.datasets.images(dataset).await?;
    let files = shared.blobs.locals(rows.iter().map(|row| row.hash.clone()).collect()).await;
    let image = |(row, file): (crate::store::DatasetImageRow, Local)| {
        let lost = || StudioError::Damaged(format!("The file of the image {} is missing.", row.name));
        let path = file?.ok_or_else(lost)?;
        let caption = text_of(&row.caption, caption, trigger);
        Ok(TrainingImage { path, caption, repeats: row.repeats(), name: row.name })
    };
    rows.into_iter().zip(files).map(image).collect()
}
