//! The studio's training API.

use std::path::PathBuf;

use adire_protocol::{TrainingRequest, TrainingRun, TrainingRunDetail, TrainingSettings};

use crate::{Studio, StudioError, TrainingFile, TrainingStream, shared::detached, training};

impl Studio {
    /// Checks a training and puts it into the queue. Its datasets never change from then on.
    ///
    /// # Errors
    /// Wrong fields, an empty dataset.
    pub async fn train(&self, request: TrainingRequest) -> Result<TrainingRun, StudioError> {
        detached(training::submit(self.shared().clone(), request)).await
    }

    /// Every training, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn trainings(&self) -> Result<Vec<TrainingRun>, StudioError> {
        training::jobs(self.shared()).await
    }

    /// A training with its points and samples.
    ///
    /// # Errors
    /// No such training.
    pub async fn training(&self, id: &str) -> Result<TrainingRunDetail, StudioError> {
        training::detail(self.shared(), id).await
    }

    /// How a training stands, then its points and samples with a number above `after`, then what happens.
    ///
    /// # Errors
    /// No such training.
    pub async fn training_events(&self, id: &str, after: u64) -> Result<TrainingStream, StudioError> {
        training::follow(self.shared().clone(), id, after).await
    }

    /// Stops a training within one unit of its work, until it is told to go on; also over a restart.
    ///
    /// # Errors
    /// No such training, or one that has ended.
    pub async fn pause_training(&self, id: &str) -> Result<TrainingRun, StudioError> {
        detached(training::pause(self.shared().clone(), id.to_owned())).await
    }

    /// Has a paused or failed training go on from its checkpoint.
    ///
    /// # Errors
    /// No such training, or one that is done or cancelled.
    pub async fn resume_training(&self, id: &str) -> Result<TrainingRun, StudioError> {
        detached(training::resume(self.shared().clone(), id.to_owned())).await
    }

    /// Stops a training for good, within one unit of its work.
    ///
    /// # Errors
    /// No such training, or one that is done.
    pub async fn cancel_training(&self, id: &str) -> Result<TrainingRun, StudioError> {
        detached(training::cancel(self.shared().clone(), id.to_owned())).await
    }

    /// A file of a finished training.
    ///
    /// # Errors
    /// No such training, or it has not ended.
    pub async fn training_file(&self, id: &str, which: TrainingFile) -> Result<PathBuf, StudioError> {
        training::file(self.shared(), id, which).await
    }

    /// How trainings and people share the device. Reads memory only.
    pub fn training_settings(&self) -> TrainingSettings {
        self.shared().training.settings()
    }

    /// Decides it; kept over a restart.
    ///
    /// # Errors
    /// It cannot be stored.
    pub async fn set_training_settings(
        &self,
        settings: TrainingSettings,
    ) -> Result<TrainingSettings, StudioError> {
        training::set_settings(self.shared(), settings).await
    }
}
