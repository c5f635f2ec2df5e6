//! Taking images and whole datasets out.

use adire_protocol::DatasetRecord;

use super::{dataset_store::DatasetStore, thumbnail};
use crate::{StudioError, tasks::blocking, unused_blobs::remove_unused};

impl DatasetStore {
    /// Takes an image out. Its file goes with it where nothing else needs it.
    pub(crate) async fn remove(&self, id: &str, hash: &str) -> Result<DatasetRecord, StudioError> {
        let _turn = self.turn.lock().await;
        self.draft(id).await?;
        if !self.store.remove_image(id, hash).await? {
            return Err(StudioError::not_found("dataset image", hash));
        }
        self.forget(vec![hash.to_owned()]).await?;
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
        self.forget(images.into_iter().map(|image| image.hash).collect()).await
    }

    /// Deletes the files of images that nothing needs any more, with their thumbnails.
    async fn forget(&self, hashes: Vec<String>) -> Result<(), StudioError> {
        for hash in hashes {
            if !self.store.has_owner(&hash).await? {
                let data = self.data.clone();
                blocking(move || {
                    thumbnail::forget(&data, &hash);
                    Ok(())
                })
                .await?;
            }
        }
        remove_unused(&self.store, &self.blobs).await.map(drop)
    }
}
