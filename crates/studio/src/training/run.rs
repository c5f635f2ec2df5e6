//! The task that executes training runs: one at a time, unit by unit. After each unit it writes what the unit
//! has found before it asks for the next one, so that whatever a checkpoint holds is in the store, too.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use adire_protocol::{TrainingPhase, TrainingPoint, TrainingSample, TrainingState};

use super::{ActiveRun, requests::forget_checkpoint};
use crate::{
    AdapterFile, BackendError, KnownResults, NewAdapter, StudioError, TrainingImage, TrainingTask,
    UnitOutcome, adapters,
    dataset::text_of,
    folder::reason,
    png::encode_bare,
    shared::{Shared, blocking, now},
    store::{RunOutcome, RunRow, image_url},
};

/// A job that was running at this many ends of the server, without a checkpoint in between, is not tried again.
const MAX_ATTEMPTS: i64 = 3;
/// How long it waits after the store refused.
const AGAIN: Duration = Duration::from_secs(1);
/// Tries to write how a job ended.
const TRIES: u32 = 4;

/// Why a run stopped before its end.
enum RunError {
    /// The studio closes.
    Closing,
    /// It was paused or cancelled; its row has the state.
    StopRequested,
    Failed(String),
}

impl From<StudioError> for RunError {
    fn from(error: StudioError) -> Self {
        match error {
            StudioError::ShuttingDown => Self::Closing,
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<BackendError> for RunError {
    fn from(error: BackendError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Executes queued runs until the studio closes.
pub(crate) async fn run(shared: Arc<Shared>) {
    while !shared.queue.is_closing() {
        match shared.store.next_queued_run().await {
            Ok(Some(row)) => run_one(&shared, &row).await,
            Ok(None) => shared.training.wake.notified().await,
            Err(StudioError::ShuttingDown) => break,
            Err(error) => {
                tracing::error!(%error, "could not start a training run");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn run_one(shared: &Arc<Shared>, row: &RunRow) {
    let id = row.id.as_str();
    if row.attempts >= MAX_ATTEMPTS {
        let message = format!(
            "The server crashed {MAX_ATTEMPTS} times during this run, so it is not restarted automatically. It may need more memory than is available; try a smaller resolution, a smaller batch size or gradient checkpointing."
        );
        end(shared, id, &[TrainingState::Queued], TrainingState::Failed, Some(&message), None).await;
        return;
    }
    match shared.store.start_run(id, now()).await {
        Ok(true) => {}
        // Somebody was quicker and paused it.
        Ok(false) => return,
        Err(error) => {
            tracing::error!(training = id, %error, "could not be started");
            tokio::time::sleep(AGAIN).await;
            return;
        }
    }
    let active = ActiveRun {
        id: id.to_owned(),
        stop: false,
        stage: TrainingPhase::Preparing { done: 0, total: 0 },
        unit: Duration::ZERO,
        waited_ms: row.waited_ms,
    };
    *shared.training.active() = Some(active);
    shared.training.notify();
    tracing::info!(training = id, "started");
    let result = run_to_version(shared, row).await;
    shared.worker.end_training();
    let from = [TrainingState::Running];
    match result {
        Ok(version) => {
            tracing::info!(training = id, version, "done");
            // Paused at the last moment: the run finishes once it is resumed.
            if end(shared, id, &from, TrainingState::Done, None, Some(&version)).await {
                forget_checkpoint(shared, id).await;
            }
        }
        Err(RunError::Closing) => {
            if let Err(error) = shared.store.requeue_run(id).await {
                // It stays `running`, which the next start treats the same, counting one attempt.
                tracing::warn!(training = id, %error, "could not be put back");
            }
        }
        Err(RunError::StopRequested) => {
            let state = shared.store.run(id).await.ok().flatten().map(|row| row.state());
            tracing::info!(training = id, ?state, "stopped");
            if state == Some(TrainingState::Cancelled) {
                forget_checkpoint(shared, id).await;
            }
        }
        Err(RunError::Failed(message)) => {
            tracing::warn!(training = id, message, "failed");
            end(shared, id, &from, TrainingState::Failed, Some(&message), None).await;
        }
    }
    *shared.training.active() = None;
    shared.training.notify();
}

/// Writes a run's outcome; returns whether it was in one of the states `from`.
async fn end(
    shared: &Shared,
    id: &str,
    from: &[TrainingState],
    state: TrainingState,
    error: Option<&str>,
    version: Option<&str>,
) -> bool {
    let end = RunOutcome { state, at: Some(now()), error, version };
    let mut ended = false;
    for attempt in 1..=TRIES {
        match shared.store.finish_run(id, from, &end).await {
            Ok(done) => {
                ended = done;
                break;
            }
            Err(error) => {
                tracing::error!(training = id, %error, attempt, "its end could not be stored");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    shared.training.notify();
    ended
}

/// Executes a run from its start or checkpoint and returns its adapter version.
async fn run_to_version(shared: &Arc<Shared>, row: &RunRow) -> Result<String, RunError> {
    let id = row.id.as_str();
    let task = task(shared, row).await?;
    let steps = task.config.steps;
    let prompts = task.config.sample_prompts.clone();
    let (name, trigger) = (task.name.clone(), task.trigger.clone());
    let note = row.request()?.note;
    let images = task.images.len();
    // Not even the beginning may hold an image up.
    yield_to_generations(shared, id, false).await?;
    shared.worker.begin_training(task).await??;
    let (waiter, training) = (shared.clone(), shared.clone());
    let interrupted: crate::worker::Interrupted =
        Arc::new(move || waiter.queue.is_busy() || waiter.queue.is_closing() || waiter.training.is_stopped());
    let mut since_update = Duration::ZERO;
    loop {
        stopped(&training, true).await?;
        yield_to_generations(&training, id, true).await?;
        let (update, took) = training.worker.advance_training(interrupted.clone()).await??;
        since_update += took;
        if let Some(active) = training.training.active().as_mut() {
            // The longest of late, slowly forgotten.
            active.unit = took.max(active.unit.mul_f64(0.95));
            active.stage = stage(&update, active.stage);
        }
        match update {
            UnitOutcome::Step | UnitOutcome::PutOff => continue,
            UnitOutcome::ClassImage { .. }
            | UnitOutcome::Preparing { .. }
            | UnitOutcome::Measuring { .. } => {}
            UnitOutcome::Ready { step, instances, held_out, truncated } => {
                tracing::info!(training = id, step, instances, held_out, truncated, "ready");
                training.store.rewind_run(id, step, false).await?;
            }
            UnitOutcome::Forecast(forecast) => training.store.save_forecast(id, &forecast).await?,
            UnitOutcome::HeldOut { step, loss } => {
                let point = TrainingPoint { step, held_out_loss: Some(loss), ..TrainingPoint::default() };
                training.store.save_point(id, &point, training.training.next_number()).await?;
            }
            UnitOutcome::Updated(point) => {
                let seconds = Some(since_update.as_secs_f64());
                let point = TrainingPoint { seconds, ..point };
                training.store.save_point(id, &point, training.training.next_number()).await?;
            }
            UnitOutcome::Rewound { step } => {
                tracing::warn!(
                    training = id,
                    step,
                    "loss is NaN or infinite: rolled back at half the learning rate"
                );
                training.store.rewind_run(id, step, true).await?;
            }
            UnitOutcome::Saved { step } => {
                tracing::debug!(training = id, step, steps, "saved");
                training.store.forget_attempts(id).await?;
            }
            UnitOutcome::Sample { step, prompt_index, with_adapter, pixels } => {
                let blobs = training.blobs.clone();
                let hash = blocking(move || blobs.put(&encode_bare(&pixels)?)).await?;
                let prompt = prompts.get(prompt_index as usize).cloned().unwrap_or_default();
                let url = image_url(&hash);
                let sample = TrainingSample { step, prompt, prompt_index, with_adapter, hash, url };
                training.store.save_sample(id, &sample, training.training.next_number()).await?;
            }
            UnitOutcome::Finished { adapter } => {
                let description = if note.is_empty() {
                    format!("Trained here on {images} images in {steps} steps.")
                } else {
                    note
                };
                let new =
                    NewAdapter { name, version: None, path: adapter, description, trigger, strict: false };
                let version = adapters::add(training.clone(), new).await?;
                return Ok(version.id());
            }
        }
        since_update = Duration::ZERO;
        training.training.notify();
    }
}

/// Returns an error when the run must stop; a checkpoint is written first if the run has `begun`.
async fn stopped(shared: &Shared, begun: bool) -> Result<(), RunError> {
    let closing = shared.queue.is_closing();
    if !closing && !shared.training.is_stopped() {
        return Ok(());
    }
    if begun && let Err(error) = shared.worker.save_training().await? {
        // The checkpoint before is still there; somewhat more is computed again.
        tracing::warn!(%error, "no checkpoint was written at the end");
    }
    Err(if closing { RunError::Closing } else { RunError::StopRequested })
}

/// Waits while generations are queued, if the settings give them priority.
async fn yield_to_generations(shared: &Shared, id: &str, begun: bool) -> Result<(), RunError> {
    let since = Instant::now();
    while shared.training.settings().pause_while_people_wait && shared.queue.is_busy() {
        let before = shared.training.active().as_ref().map(|active| active.stage);
        if before != Some(TrainingPhase::Yielding) {
            shared.training.set_phase(TrainingPhase::Yielding);
            shared.training.notify();
        }
        tokio::select! {
            () = shared.queue.idle() => {}
            // A pause, a cancel, or another setting.
            () = shared.training.wake.notified() => {}
        }
        stopped(shared, begun).await?;
    }
    let waited = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
    if waited > 0 {
        let total = shared.training.active().as_mut().map(|active| {
            active.waited_ms += waited;
            active.waited_ms
        });
        if let Some(total) = total {
            shared.store.save_waited(id, total).await?;
        }
    }
    Ok(())
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
async fn task(shared: &Shared, row: &RunRow) -> Result<TrainingTask, RunError> {
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
            let lost = || StudioError::Storage(format!("The file of {} is missing.", version.id()));
            let path = shared.blobs.path(&version.hash).ok_or_else(lost)?;
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
    let image = |row: crate::store::DatasetImageRow| {
        let lost = || StudioError::Storage(format!("The file of the image {} is missing.", row.name));
        let path = shared.blobs.path(&row.hash).filter(|path| path.is_file()).ok_or_else(lost)?;
        let caption = text_of(&row.caption, caption, trigger);
        Ok(TrainingImage { path, caption, repeats: row.repeats(), name: row.name })
    };
    shared.datasets.images(dataset).await?.into_iter().map(image).collect()
}
