//! A data folder without a model: what the command line does while no server runs.

mod moves;

use std::path::Path;

use adire_protocol::{
    AdapterVersion, DatasetRecord, DatasetSummary, EmbeddingRecord, NewDataset, PushRequest,
};

use crate::{
    LocalFile, NewEmbedding, Publication, StudioConfig, StudioError, adapters,
    blobs::Blobs,
    dataset::{DatasetStore, Reach, UploadedFile},
    embeddings,
    folder::{self, FolderLock},
    publication, push_queue,
    regular_file::open_regular,
    store::Store,
    tasks::blocking,
};

/// An open data folder; no server can use it meanwhile.
#[derive(Debug)]
pub struct DataFolder {
    datasets: DatasetStore,
    store: Store,
    blobs: Blobs,
    _lock: FolderLock,
}

impl DataFolder {
    /// Opens the folder; it is made when absent.
    ///
    /// # Errors
    /// It cannot be used, or a server uses it.
    pub async fn open(data: &Path) -> Result<Self, StudioError> {
        Self::open_with(&StudioConfig::new(data)).await
    }

    /// Opens the folder of a studio, with its rows and blobs wherever they are.
    ///
    /// # Errors
    /// The folder, the database or the bucket cannot be used, or a server uses one of them.
    pub async fn open_with(config: &StudioConfig) -> Result<Self, StudioError> {
        let data = config.data.clone();
        let lock = blocking(move || folder::claim(&data)).await?;
        let blobs = Blobs::open(&config.data, &config.blobs).await?;
        let store = Store::open(&config.data, config.database.as_ref()).await?;
        let datasets = DatasetStore::new(config.data.clone(), store.clone(), blobs.clone());
        Ok(Self { datasets, store, blobs, _lock: lock })
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// The adapter version that `name`, `name@vN` or `name@alias` stands for, with its file.
    ///
    /// # Errors
    /// There is none, or its file is missing or damaged.
    pub async fn adapter(&self, name: &str) -> Result<(AdapterVersion, LocalFile), StudioError> {
        let known = self.store.adapters().await?;
        let version = adapters::resolve(&known, name)?.clone();
        let file = adapters::local(&self.blobs, &version).await?;
        Ok((version, file))
    }

    /// Every dataset, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn datasets(&self) -> Result<Vec<DatasetSummary>, StudioError> {
        self.datasets.list().await
    }

    /// A dataset with everything in it.
    ///
    /// # Errors
    /// No such dataset.
    pub async fn dataset(&self, id: &str) -> Result<DatasetRecord, StudioError> {
        self.datasets.read(id).await
    }

    /// A new dataset of the images of a folder, or of a zip file. Where nothing can be used there is none.
    ///
    /// # Errors
    /// The name is wrong, or nothing can be used (the message says why for the first ones).
    pub async fn import(&self, new: NewDataset, from: &Path) -> Result<DatasetRecord, StudioError> {
        let record = self.datasets.create(new).await?;
        let filled = self.fill(&record.id, from).await;
        if filled.is_err() {
            if let Some(class) = self.datasets.row(&record.id).await?.class_dataset {
                self.store.drop_dataset(&class).await?;
            }
            self.store.drop_dataset(&record.id).await?;
        }
        filled
    }

    async fn fill(&self, id: &str, from: &Path) -> Result<DatasetRecord, StudioError> {
        if from.is_dir() {
            // Whoever sits at the machine may follow links wherever they lead.
            return self.datasets.import(id, from, Reach::default()).await;
        }
        let shown = from.display().to_string();
        let unreadable = |error: std::io::Error| {
            StudioError::Image(format!("{shown} cannot be read: {}.", folder::reason(&error)))
        };
        let path = from.to_owned();
        let file = blocking(move || Ok(open_regular(&path))).await?.map_err(unreadable)?;
        let file = tokio::fs::File::from_std(file);
        let name = from.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let incoming: UploadedFile = self.datasets.receive(&name, chunks(file)).await?;
        let record = self.datasets.add(id, vec![incoming]).await?;
        if record.images.is_empty() {
            return Err(StudioError::Image(crate::dataset::nothing_usable(&shown, &record.warnings)));
        }
        Ok(record)
    }

    /// Keeps an embedding. The same file under the same word is kept once.
    ///
    /// # Errors
    /// The file cannot be read, or another one has that word.
    pub async fn add_embedding(&self, new: NewEmbedding) -> Result<EmbeddingRecord, StudioError> {
        embeddings::add(&self.store, &self.blobs, new).await
    }

    /// Every embedding, by its word.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn embeddings(&self) -> Result<Vec<EmbeddingRecord>, StudioError> {
        self.store.embeddings().await
    }

    /// Prompts know the word no longer. The file stays, so that images made with it can be made again.
    ///
    /// # Errors
    /// No embedding has that word.
    pub async fn remove_embedding(&self, word: &str) -> Result<EmbeddingRecord, StudioError> {
        embeddings::remove(&self.store, word).await
    }

    /// As [`crate::Studio::publication`].
    ///
    /// # Errors
    /// As [`crate::Studio::publication`].
    pub async fn publication(&self, id: &str) -> Result<Publication, StudioError> {
        publication::read(&self.store, &self.blobs, id).await
    }

    /// Checks the fields of a push.
    ///
    /// # Errors
    /// A field is not valid.
    pub fn check_push(&self, request: &PushRequest) -> Result<(), StudioError> {
        push_queue::check(request)
    }

    /// Lets the folder go.
    pub async fn close(self) {
        self.store.close().await;
    }
}

/// A file's bytes, piece by piece.
fn chunks(file: tokio::fs::File) -> impl futures::Stream<Item = std::io::Result<Vec<u8>>> {
    use tokio::io::AsyncReadExt;
    futures::stream::unfold(file, |mut file| async move {
        let mut part = vec![0; 1 << 18];
        match file.read(&mut part).await {
            Ok(0) => None,
            Ok(read) => {
                part.truncate(read);
                Some((Ok(part), file))
            }
            Err(error) => Some((Err(error), file)),
        }
    })
}
