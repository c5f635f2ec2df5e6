//! Adapter and embedding files that are added to the studio.

use adire_protocol::{AdapterVersion, EmbeddingRecord};

use super::Studio;
use crate::{
    Mover, NewAdapter, NewEmbedding, StudioError, UploadedFile, additions, embeddings, tasks::detached,
};

impl Studio {
    /// Takes an adapter file in, after the image that is being made. The same file under the same name
    /// and version (or without a version) gives the version that exists.
    ///
    /// # Errors
    /// The name is wrong, the file does not fit the model, the version exists with another content.
    pub async fn add_adapter(&self, new: NewAdapter) -> Result<AdapterVersion, StudioError> {
        detached(additions::add(self.shared().clone(), new, None)).await
    }

    /// As [`Self::add_adapter`], with a row of the ledger that says who added it.
    ///
    /// # Errors
    /// As [`Self::add_adapter`]; the adapter's ledger was tampered with.
    pub async fn add_adapter_by(&self, new: NewAdapter, by: Mover) -> Result<AdapterVersion, StudioError> {
        detached(additions::add(self.shared().clone(), new, Some(by))).await
    }

    /// Receives an adapter file as a stream; it is deleted when the returned value is dropped.
    ///
    /// # Errors
    /// The bytes do not come, are more than [`crate::MAX_ADAPTER_BYTES`], or cannot be stored.
    pub async fn receive_adapter<B: AsRef<[u8]>, E: std::fmt::Display>(
        &self,
        name: &str,
        chunks: impl futures::Stream<Item = Result<B, E>>,
    ) -> Result<UploadedFile, StudioError> {
        additions::receive(self.shared(), name, chunks).await
    }

    /// As [`Self::add_adapter_by`], with a file that was received; `path` of `new` is ignored. Returns also whether the
    /// version is new: the same file under the same name and version (or without one) gives the one that exists.
    ///
    /// # Errors
    /// As [`Self::add_adapter_by`].
    pub async fn add_uploaded_adapter(
        &self,
        file: UploadedFile,
        new: NewAdapter,
        by: Mover,
    ) -> Result<(AdapterVersion, bool), StudioError> {
        detached(additions::add_uploaded(self.shared().clone(), file, new, by)).await
    }

    /// Every embedding that prompts may name, by its word.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn embeddings(&self) -> Result<Vec<EmbeddingRecord>, StudioError> {
        self.shared().store.embeddings().await
    }

    /// Keeps an embedding; the next image can use its word.
    ///
    /// # Errors
    /// The file cannot be read, or another one has that word.
    pub async fn add_embedding(&self, new: NewEmbedding) -> Result<EmbeddingRecord, StudioError> {
        let shared = self.shared().clone();
        detached(async move { embeddings::add(&shared.store, &shared.blobs, new).await }).await
    }

    /// Receives an embedding file as a stream; it is deleted when the returned value is dropped.
    ///
    /// # Errors
    /// The bytes do not come, are more than [`crate::MAX_EMBEDDING_BYTES`], or cannot be stored.
    pub async fn receive_embedding<B: AsRef<[u8]>, E: std::fmt::Display>(
        &self,
        name: &str,
        chunks: impl futures::Stream<Item = Result<B, E>>,
    ) -> Result<UploadedFile, StudioError> {
        embeddings::receive(self.shared(), name, chunks).await
    }

    /// Keeps an embedding file that was received, under `word`, otherwise the file's own word or its name. Returns also
    /// whether it is new: the same file under the same word is kept once.
    ///
    /// # Errors
    /// The file is not an embedding of this model, prompts cannot hold the word, or it names another file.
    pub async fn add_uploaded_embedding(
        &self,
        file: UploadedFile,
        word: Option<String>,
    ) -> Result<(EmbeddingRecord, bool), StudioError> {
        let shared = self.shared().clone();
        detached(async move { embeddings::add_uploaded(&shared, file, word).await }).await
    }

    /// Prompts know the word no longer. The file stays, so that images made with it can be made again.
    ///
    /// # Errors
    /// No embedding has that word.
    pub async fn remove_embedding(&self, word: &str) -> Result<EmbeddingRecord, StudioError> {
        embeddings::remove(&self.shared().store, word).await
    }
}
