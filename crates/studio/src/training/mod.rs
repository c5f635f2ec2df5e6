//! Training runs: created and changed (`requests`), executed one at a time, unit by unit (`run`), read (`views`), followed
//! (`events`). The database says which job is in which state; memory only knows what the running one does.

mod api;
mod events;
mod files;
mod requests;
mod run;
mod views;

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use adire_protocol::{TrainingPhase, TrainingSettings};
use tokio::sync::{Notify, watch};

pub(crate) use events::follow;
pub use files::TrainingFile;
pub(crate) use files::file;
pub(crate) use requests::{cancel, pause, resume, set_settings, submit};
pub(crate) use run::run;
pub(crate) use views::{detail, job, jobs};

use crate::{StudioError, shared::now, store::Store};

/// Where runs keep their checkpoints and results, in the data folder.
const FOLDER: &str = "training";
/// Name of a run's checkpoint.
const CHECKPOINT: &str = "checkpoint.safetensors";
/// Under what name the settings are kept.
const SETTINGS: &str = "training";

/// In-memory state of training. The mutexes are held for moments only, never across an await.
pub(crate) struct TrainingControl {
    folder: PathBuf,
    active: Mutex<Option<ActiveRun>>,
    settings: Mutex<TrainingSettings>,
    /// Wakes the training task; keeps one permit.
    wake: Notify,
    /// Grows whenever something about a training has changed.
    changes: watch::Sender<u64>,
    /// The number of the last event.
    number: AtomicI64,
}

/// State of the active run.
#[derive(Clone, Debug)]
struct ActiveRun {
    id: String,
    stop: bool,
    stage: TrainingPhase,
    /// How long a unit lately held the device at most.
    unit: Duration,
    waited_ms: i64,
}

impl TrainingControl {
    pub(crate) async fn open(data: &Path, store: &Store) -> Result<Self, StudioError> {
        let settings = store.setting(SETTINGS).await?.unwrap_or_default();
        let number = store.newest_training_event().await?;
        Ok(Self {
            folder: data.join(FOLDER),
            active: Mutex::default(),
            settings: Mutex::new(settings),
            wake: Notify::new(),
            changes: watch::Sender::new(0),
            number: AtomicI64::new(number),
        })
    }

    pub(crate) fn settings(&self) -> TrainingSettings {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the job of that id, which is a UUID of ours, keeps its files.
    fn folder_of(&self, id: &str) -> PathBuf {
        self.folder.join(id)
    }

    fn active(&self) -> MutexGuard<'_, Option<ActiveRun>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the training task and every follower.
    pub(crate) fn changed(&self) {
        self.wake.notify_one();
        self.notify();
    }

    /// Notifies every follower.
    fn notify(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Signals the run to stop, if it is active.
    fn stop(&self, id: &str) {
        if let Some(active) = self.active().as_mut().filter(|active| active.id == id) {
            active.stop = true;
        }
        self.changed();
    }

    fn is_stopped(&self) -> bool {
        self.active().as_ref().is_none_or(|active| active.stop)
    }

    /// Whether no job holds the device.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.active().is_none()
    }

    fn set_phase(&self, stage: TrainingPhase) {
        if let Some(active) = self.active().as_mut() {
            active.stage = stage;
        }
    }

    /// A number for the next event: later ones have larger ones, also after a restart that forgot the last.
    fn next_number(&self) -> i64 {
        let next = now().max(self.number.load(Ordering::Relaxed) + 1);
        self.number.store(next, Ordering::Relaxed);
        next
    }
}
