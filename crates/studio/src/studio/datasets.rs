//! The studio's dataset API.

use std::path::{Path, PathBuf};

use adire_protocol::{DatasetChange, DatasetRecord, DatasetSummary, NewDataset};

use super::{Studio, import};
use crate::{StudioError, UploadedFile, tasks::detached};

impl Studio {
    /// Every dataset, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn datasets(&self) -> Result<Vec<DatasetSummary>, StudioError> {
        self.shared().datasets.list().await
    }

    /// Creates an empty dataset.
    ///
    /// # Errors
    /// Wrong fields.
    pub async fn create_dataset(&self, new: NewDataset) -> Result<DatasetRecord, StudioError> {
        self.shared().datasets.create(new).await
    }

    /// A dataset with everything in it.
    ///
    /// # Errors
    /// No such dataset.
    pub async fn dataset(&self, id: &str) -> Result<DatasetRecord, StudioError> {
        self.shared().datasets.read(id).await
    }

    /// Receives a file for a dataset as a stream; it is deleted when the returned value is dropped.
    ///
    /// # Errors
    /// The bytes do not come, are too many, or cannot be stored.
    pub async fn receive<B: AsRef<[u8]>, E: std::fmt::Display>(
        &self,
        name: &str,
        chunks: impl futures::Stream<Item = Result<B, E>>,
    ) -> Result<UploadedFile, StudioError> {
        self.shared().datasets.receive(name, chunks).await
    }

    /// Adds uploaded files to a dataset: images (PNG, JPEG, WebP), captions for them (`a.txt` beside `a.png`,
    /// `metadata.jsonl`, folders named `10_words`), zip files with both. What cannot be used is among the warnings.
    ///
    /// # Errors
    /// No such dataset, a frozen one, or nothing can be stored.
    pub async fn add_to_dataset(
        &self,
        id: &str,
        files: Vec<UploadedFile>,
    ) -> Result<DatasetRecord, StudioError> {
        let (shared, id) = (self.shared().clone(), id.to_owned());
        detached(async move { shared.datasets.add(&id, files).await }).await
    }

    /// Adds the images of a folder of this machine to a dataset, as [`Self::add_to_dataset`] does. Only regular files
    /// of folders that were named at the start are read, within a time limit.
    ///
    /// # Errors
    /// As there; the folder may not or cannot be read, or nothing in it can be used.
    pub async fn import_folder(&self, id: &str, folder: &Path) -> Result<DatasetRecord, StudioError> {
        import::import(self.shared().clone(), id.to_owned(), folder.to_owned()).await
    }

    /// The folders that [`Self::import_folder`] may read.
    pub fn import_from(&self) -> &[PathBuf] {
        &self.shared().import_from
    }

    /// Changes a dataset's texts.
    ///
    /// # Errors
    /// No such dataset or image, a frozen one, wrong fields.
    pub async fn change_dataset(
        &self,
        id: &str,
        change: DatasetChange,
    ) -> Result<DatasetRecord, StudioError> {
        let (shared, id) = (self.shared().clone(), id.to_owned());
        detached(async move { shared.datasets.change(&id, change).await }).await
    }

    /// Removes an image from a dataset.
    ///
    /// # Errors
    /// No such dataset or image, a frozen one.
    pub async fn remove_from_dataset(&self, id: &str, image: &str) -> Result<DatasetRecord, StudioError> {
        let (shared, id, image) = (self.shared().clone(), id.to_owned(), image.to_owned());
        detached(async move { shared.datasets.remove(&id, &image).await }).await
    }

    /// A new draft with a dataset's content; its name when `name` is left out.
    ///
    /// # Errors
    /// No such dataset, a wrong name.
    pub async fn copy_dataset(&self, id: &str, name: Option<String>) -> Result<DatasetRecord, StudioError> {
        let (shared, id) = (self.shared().clone(), id.to_owned());
        detached(async move { shared.datasets.copy(&id, name).await }).await
    }

    /// Deletes a dataset and those of its images that nothing else needs. Adapters that were trained on it stay.
    ///
    /// # Errors
    /// No such dataset; a training that may still go on needs it.
    pub async fn delete_dataset(&self, id: &str) -> Result<(), StudioError> {
        let (shared, id) = (self.shared().clone(), id.to_owned());
        detached(async move { shared.datasets.delete(&id).await }).await
    }

    /// A JPEG of an image of a dataset, at most 320 pixels a side.
    ///
    /// # Errors
    /// No such image; its file is lost.
    pub async fn thumbnail(&self, dataset: &str, image: &str) -> Result<Vec<u8>, StudioError> {
        self.shared().datasets.thumbnail(dataset, image).await
    }
}
