//! The studio's API of pushes.

use adire_protocol::{PushRecord, PushRequest};

use super::Studio;
use crate::{
    JobEventStream, Publication, PushTask, StudioError, events, job::JobKind, publication, push_queue,
    pushes, tasks::detached, work,
};

impl Studio {
    /// Queues the upload of a version (`name@vN`). The same one again gives the push that is under way.
    ///
    /// # Errors
    /// No such version; a field is not valid; the admin has paused new jobs.
    pub async fn push(&self, id: &str, request: PushRequest) -> Result<PushRecord, StudioError> {
        let (shared, id) = (self.shared().clone(), id.to_owned());
        detached(async move { pushes::submit(&shared, &id, request).await }).await
    }

    /// The newest pushes; those of one version (`name@vN`), if it is given.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn pushes(&self, of: Option<&str>) -> Result<Vec<PushRecord>, StudioError> {
        pushes::records(self.shared(), of).await
    }

    /// A push.
    ///
    /// # Errors
    /// No such push.
    pub async fn push_record(&self, id: &str) -> Result<PushRecord, StudioError> {
        push_queue::record(self.shared(), id).await
    }

    /// Cancels a push, at once while it waits.
    ///
    /// # Errors
    /// No such push, or it has ended.
    pub async fn cancel_push(&self, id: &str) -> Result<PushRecord, StudioError> {
        let (shared, id) = (self.shared().clone(), id.to_owned());
        detached(async move { pushes::cancel(&shared, &id).await }).await
    }

    /// How a push stands, then how it stands whenever something has changed; ends with it, or when the studio closes.
    /// `None`: it has ended, and `after` is its last event.
    ///
    /// # Errors
    /// No such push.
    pub async fn push_events(&self, id: &str, after: u64) -> Result<Option<JobEventStream>, StudioError> {
        events::follow(self.shared().clone(), id, Some(JobKind::Push), after).await
    }

    /// Waits for the next push and claims it, for the uploader.
    ///
    /// # Errors
    /// The studio closes, or the store cannot be read.
    pub async fn next_push(&self) -> Result<PushTask, StudioError> {
        work::next_push(self.shared()).await
    }

    /// Notes what a claimed push is doing, in one sentence.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn push_progress(&self, task: &PushTask, progress: &str) -> Result<(), StudioError> {
        work::report_push(self.shared(), task, progress).await
    }

    /// A claimed push has ended: with the repository's address and the commit, or with a sentence. One that was asked to stop
    /// is cancelled, or waits for the next start.
    pub async fn end_push(&self, task: &PushTask, result: Result<(&str, Option<&str>), &str>) {
        work::end_push(self.shared(), task, result).await;
    }

    /// A version (`name@vN`) as it is published, hidden or not.
    ///
    /// # Errors
    /// No such version; its file is lost.
    pub async fn publication(&self, id: &str) -> Result<Publication, StudioError> {
        publication::read(&self.shared().store, &self.shared().blobs, id).await
    }
}
