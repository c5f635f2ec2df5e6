//! Training runs as their callers see them: created and changed (`requests`), read (`views`). They are executed by
//! `work::training`. The database says which run is in which state; memory only knows what the running one does.

mod api;
mod files;
mod requests;
mod views;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use adire_protocol::{TrainingPhase, TrainingSettings};

pub use files::TrainingFile;
pub(crate) use files::file;
pub(crate) use requests::{cancel, forget_checkpoint, pause, resume, set_settings, submit};
pub(crate) use views::{detail, job, jobs};

use crate::{StudioError, store::Store};

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
}

/// What is known of the active run beyond its rows.
#[derive(Clone, Debug)]
pub(crate) struct ActiveRun {
    pub(crate) id: String,
    pub(crate) stage: TrainingPhase,
    /// How long a unit lately held the device at most.
    pub(crate) unit: Duration,
    pub(crate) waited_ms: i64,
}

impl TrainingControl {
    pub(crate) async fn open(data: &Path, store: &Store) -> Result<Self, StudioError> {
        let settings = store.setting(SETTINGS).await?.unwrap_or_default();
        Ok(Self { folder: data.join(FOLDER), active: Mutex::default(), settings: Mutex::new(settings) })
    }

    pub(crate) fn settings(&self) -> TrainingSettings {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the job of that id, which is a UUID of ours, keeps its files.
    pub(crate) fn folder_of(&self, id: &str) -> PathBuf {
        self.folder.join(id)
    }

    pub(crate) fn active(&self) -> MutexGuard<'_, Option<ActiveRun>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no run holds the device.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.active().is_none()
    }

    pub(crate) fn set_phase(&self, stage: TrainingPhase) {
        if let Some(active) = self.active().as_mut() {
            active.stage = stage;
        }
    }
}
