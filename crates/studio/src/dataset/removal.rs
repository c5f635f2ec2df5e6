//! Taking images and whole datasets out.

use adire_protocol::DatasetRecord;

use super::{dataset_store::DatasetStore, thumbnail};
use crate::{StudioError, shared::blocking};

impl DatasetStore {
    /// Takes an image out. Its file goes with it where nothing else needs it.
    pub(crate) async fn remove(&self, id: &str, hash: &str) -> Result<DatasetRecord, StudioError> {
        let _turn = self.turn.lock().await;
        self.draft(id).await?;
        if !self.store.remove_image(id, hash).await? {
            let id = hash.chars().take(80).collect();
            return Err(StudioError::NotFound { what: "dataset image", id });
        }
        self.forget(hash.to_owned()).await?;
        self.read(id).await
    }

    /// Takes a dataset out with its images. What was trained on it stays, with the hash of its content.
    pub(crate) async fn delete(&self, id: &str) -> Result<(), StudioError> {
        let _turn = self.turn.lock().await;
        let row = self.row(id).await?;
        for job in self.store.runs().await? {
            if job.state().can_cancel() && job.request()?.datasets().any(|used| used == id) {
                return Err(StudioError::Training(format!(
                    "Dataset {} is used by an unfinished training run. Cancel the run first, or wait until it ends.",
                    row.name
                )));
            }
        }
        let images = self.store.dataset_images(id).await?;
        self.store.drop_dataset(id).await?;
        for image in images {
            self.forget(image.hash).await?;
        }
        Ok(())
    }

    /// Deletes the file of an image where nothing else needs it.
    async fn forget(&self, hash: String) -> Result<(), StudioError> {
        if self.store.has_owner(&hash).await? {
            return Ok(());
        }
        let (blobs, data) = (self.blobs.clone(), self.data.clone());
        blocking(move || {
            thumbnail::forget(&data, &hash);
            blobs.remove(&hash)
        })
        .await
    }
}
