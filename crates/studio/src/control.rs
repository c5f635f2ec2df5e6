//! What people ask to be taken back, and what the admin decides about all of it: the queue, deletion, versions.

use adire_protocol::{
    Deleted, GalleryImage, Intake, JobMove, JobQueue, ListedVersion, QueueEntry, QueueOwner, VersionChange,
};

use crate::{
    By, Client, JobEventStream, Studio, StudioError, adapters, admin, client::Visitor, deletion, events,
    requests, tasks::detached, views, work,
};

/// Most images that a page of the gallery has.
const MAX_LISTED: u32 = 200;

impl Studio {
    /// Deletes a generation for good: its prompt, its images and uploads that only it began with. One that waits or
    /// runs is cancelled first.
    ///
    /// # Errors
    /// No such generation, or another visitor's.
    pub async fn delete_generation(&self, id: &str, by: By<'_>) -> Result<(), StudioError> {
        detached(deletion::generation(self.shared().clone(), id.to_owned(), by.into())).await
    }

    /// Deletes one image of a finished generation for good; with its last one goes the generation.
    ///
    /// # Errors
    /// No such image, another visitor's, or one of a generation that is not finished.
    pub async fn delete_image(&self, id: &str, index: u32, by: By<'_>) -> Result<(), StudioError> {
        detached(deletion::image(self.shared().clone(), id.to_owned(), index, by.into())).await
    }

    /// Deletes everything that a client has here: generations, images, uploads. Without a visitor there is nothing that
    /// is known to be theirs.
    ///
    /// # Errors
    /// Something could not be deleted; the rest may be gone.
    pub async fn delete_history(&self, client: &Client) -> Result<Deleted, StudioError> {
        let Some(visitor) = client.visitor.as_ref().map(Visitor::digest) else {
            return Ok(Deleted::default());
        };
        detached(deletion::visitor(self.shared().clone(), visitor)).await
    }

    /// Deletes everything of the visitor with this digest, as [`Self::queue_entries`] and [`Self::gallery`] give it.
    ///
    /// # Errors
    /// Something could not be deleted; the rest may be gone.
    pub async fn delete_visitor(&self, digest: &str) -> Result<Deleted, StudioError> {
        detached(deletion::visitor(self.shared().clone(), digest.to_owned())).await
    }

    /// Deletes an image by its hash, regardless of its owner.
    ///
    /// # Errors
    /// No such image.
    pub async fn delete_content(&self, hash: &str) -> Result<Deleted, StudioError> {
        detached(deletion::content(self.shared().clone(), hash.to_owned())).await
    }

    /// Everybody's images, newest first; `before` is the `created_at` of the last one of the page before. At most 200
    /// at a time.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn gallery(&self, limit: u32, before: Option<i64>) -> Result<Vec<GalleryImage>, StudioError> {
        let limit = limit.min(MAX_LISTED);
        self.shared().store.all_images(limit, before.unwrap_or(i64::MAX)).await
    }

    /// Everything that waits or runs, with who asked, in the order in which it is made. Reads memory only.
    pub fn queue_entries(&self) -> Vec<QueueEntry> {
        views::queue(self.shared())
    }

    /// All jobs that wait or run, of every kind, with owners, costs and what they wait for.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn jobs(&self) -> Result<JobQueue, StudioError> {
        admin::list(self.shared()).await
    }

    /// The events of a job of any kind with a number above `after`, then what happens; ends with it, or when the studio
    /// closes. `None`: it has ended, and there are no more.
    ///
    /// # Errors
    /// No such job.
    pub async fn job_events(&self, id: &str, after: u64) -> Result<Option<JobEventStream>, StudioError> {
        events::follow(self.shared().clone(), id, None, after).await
    }

    /// Cancels a job of any kind.
    ///
    /// # Errors
    /// No such job, or one that has ended.
    pub async fn cancel_job(&self, id: &str) -> Result<(), StudioError> {
        detached(admin::cancel(self.shared().clone(), id.to_owned())).await
    }

    /// Moves a waiting job among those of its kind.
    ///
    /// # Errors
    /// No such job, or one that does not wait.
    pub async fn move_job(&self, id: &str, to: JobMove) -> Result<(), StudioError> {
        detached(admin::reposition(self.shared().clone(), id.to_owned(), to)).await
    }

    /// Refuses new jobs of every kind, or accepts them again. Kept over restarts.
    ///
    /// # Errors
    /// It cannot be stored.
    pub async fn set_intake(&self, intake: Intake) -> Result<Intake, StudioError> {
        work::set_intake(self.shared(), intake).await
    }

    /// Cancels everything of a network or a visitor; how many.
    ///
    /// # Errors
    /// Neither is named; something could not be stored.
    pub async fn cancel_all(&self, of: QueueOwner) -> Result<u32, StudioError> {
        detached(requests::cancel_all(self.shared().clone(), of)).await
    }

    /// Every adapter version that there is or was, with what has been decided about it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn versions(&self) -> Result<Vec<ListedVersion>, StudioError> {
        adapters::list(self.shared()).await
    }

    /// Hides a version (`name@vN`) or shows it again, gives its file out or not.
    ///
    /// # Errors
    /// No such version.
    pub async fn change_version(
        &self,
        name: &str,
        change: VersionChange,
    ) -> Result<ListedVersion, StudioError> {
        adapters::offer(self.shared(), name, change).await
    }

    /// Deletes a version (`name@vN`) and its file for good. Its number is not used again.
    ///
    /// # Errors
    /// No such version.
    pub async fn delete_version(&self, name: &str) -> Result<ListedVersion, StudioError> {
        let (shared, name) = (self.shared().clone(), name.to_owned());
        detached(async move { adapters::delete(&shared, &name).await }).await
    }
}
