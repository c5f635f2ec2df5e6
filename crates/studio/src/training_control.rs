//! What memory knows of training: the settings, and the run that holds the device.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use adire_protocol::{TrainingPhase, TrainingSettings};

use crate::{StudioError, folder, store::Store, tasks::blocking};

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

    /// Changes the settings; kept over restarts.
    pub(crate) async fn set_settings(
        &self,
        store: &Store,
        settings: TrainingSettings,
    ) -> Result<(), StudioError> {
        store.set_setting(SETTINGS, &settings).await?;
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
        Ok(())
    }

    /// Where the job of that id, which is a UUID of ours, keeps its files.
    pub(crate) fn folder_of(&self, id: &str) -> PathBuf {
        self.folder.join(id)
    }

    /// Deletes the checkpoint of a run that will not be resumed.
    pub(crate) async fn forget_checkpoint(&self, id: &str) {
        let path = self.folder_of(id).join(CHECKPOINT);
        let _ = blocking(move || {
            // It may never have been written.
            folder::remove(&path);
            Ok(())
        })
        .await;
    }

    pub(crate) fn active(&self) -> MutexGuard<'_, Option<ActiveRun>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run does not hold the device any more.
    pub(crate) fn forget(&self, id: &str) {
        let mut active = self.active();
        if active.as_ref().is_some_and(|active| active.id == id) {
            *active = None;
        }
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
