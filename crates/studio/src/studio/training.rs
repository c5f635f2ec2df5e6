//! The studio's training API.

use std::path::PathBuf;

use adire_protocol::{AdapterVersion, TrainingRequest, TrainingRun, TrainingRunDetail, TrainingSettings};

use super::Studio;
use crate::{JobEventStream, StudioError, TrainingFile, events, job::JobKind, tasks::detached, training};

impl Studio {
    /// Validates and queues a training run. Its datasets are frozen.
    ///
    /// # Errors
    /// Wrong fields, an empty dataset.
    pub async fn train(&self, request: TrainingRequest) -> Result<TrainingRun, StudioError> {
        detached(training::submit(self.shared().clone(), request)).await
    }

    /// Every training run, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn trainings(&self) -> Result<Vec<TrainingRun>, StudioError> {
        training::jobs(self.shared()).await
    }

    /// A training run with its points and samples.
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
    pub async fn training_events(&self, id: &str, after: u64) -> Result<Option<JobEventStream>, StudioError> {
        events::follow(self.shared().clone(), id, Some(JobKind::Training), after).await
    }

    /// Pauses a training run within one unit of work, until it is resumed; persists across restarts.
    ///
    /// # Errors
    /// No such training, or one that has ended.
    pub async fn pause_training(&self, id: &str) -> Result<TrainingRun, StudioError> {
        detached(training::pause(self.shared().clone(), id.to_owned())).await
    }

    /// Resumes a paused or failed run from its checkpoint.
    ///
    /// # Errors
    /// No such training, or one that is done or cancelled.
    pub async fn resume_training(&self, id: &str) -> Result<TrainingRun, StudioError> {
        detached(training::resume(self.shared().clone(), id.to_owned())).await
    }

    /// Cancels a training run within one unit of work.
    ///
    /// # Errors
    /// No such training, or one that is done.
    pub async fn cancel_training(&self, id: &str) -> Result<TrainingRun, StudioError> {
        detached(training::cancel(self.shared().clone(), id.to_owned())).await
    }

    /// A file of a finished run.
    ///
    /// # Errors
    /// No such training, or it has not ended.
    pub async fn training_file(&self, id: &str, which: TrainingFile) -> Result<PathBuf, StudioError> {
        training::file(self.shared(), id, which).await
    }

    /// Steps of a run whose adapter can become a version, in their order.
    ///
    /// # Errors
    /// No such training.
    pub async fn training_steps(&self, id: &str) -> Result<Vec<u32>, StudioError> {
        training::steps(self.shared(), id).await
    }

    /// Makes the adapter of a step a version, during the run or after it. A second call gives the same version.
    ///
    /// # Errors
    /// No such training or step.
    pub async fn keep_training_step(&self, id: &str, step: u32) -> Result<AdapterVersion, StudioError> {
        let (shared, id) = (self.shared().clone(), id.to_owned());
        detached(async move { training::keep(shared, &id, step).await }).await
    }

    /// The training settings. Reads memory only.
    pub fn training_settings(&self) -> TrainingSettings {
        self.shared().training.settings()
    }

    /// Changes the training settings; persists across restarts.
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
