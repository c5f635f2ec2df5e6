//! The public face: everything the server and the page call.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use adire_protocol::{
    AdapterDetail, AdapterVersion, DatasetChange, DatasetRecord, DatasetSummary, Generation,
    GenerationRequest, ImageRecord, ModelInfo, NewDataset, QueueStatus, TokenCount, TrainingDetail,
    TrainingJob, TrainingRequest, TrainingSettings, Upload,
};
use tokio::{sync::Mutex as AsyncMutex, task::JoinHandle};

use crate::{
    Backend, BackendError, EventStream, Incoming, NewAdapter, StudioError, TrainingFile, TrainingStream,
    adapters,
    blobs::Blobs,
    board::Board,
    dataset::library::Library,
    dispatch, folder, prompts, requests, restore,
    shared::{Shared, blocking, detached, timing_key},
    store::Store,
    sweep,
    timing::Timing,
    training::{self, Training},
    uploads, views,
    worker::{Loaded, Worker},
};

/// Where a studio keeps its things and how much it takes on.
#[derive(Clone, Debug)]
pub struct StudioConfig {
    /// Data folder; made when absent.
    pub data: PathBuf,
    /// Most generations that may wait.
    pub queue_capacity: usize,
}

impl StudioConfig {
    /// The usual settings for a data folder.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), queue_capacity: 32 }
    }
}

/// A handle to the one studio of a process; clones are cheap.
///
/// Its functions can be dropped half-way (a client hangs up) without harm: what must not stop in the middle
/// runs in a task of its own. When the last handle is dropped without [`Studio::shutdown`], everything stops
/// where it is, as in a crash; nothing stored is lost and the next start goes on.
#[derive(Clone)]
pub struct Studio {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    /// Taken by the first shutdown. The mutex is held for the taking only.
    parts: Mutex<Option<Parts>>,
}

/// What a shutdown waits for.
struct Parts {
    dispatcher: JoinHandle<()>,
    sweeper: JoinHandle<()>,
    trainer: JoinHandle<()>,
    worker: thread::JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            // With the dispatcher go the receiver of the worker's updates, which ends its picture within one
            // step, and the last sender of requests, which ends its thread.
            parts.dispatcher.abort();
            parts.sweeper.abort();
            parts.trainer.abort();
        }
    }
}

impl Studio {
    /// Opens the data folder, loads the model on its own thread (`make` runs there) and goes on with what
    /// was left unfinished.
    ///
    /// # Errors
    /// The folder cannot be used, another server uses it, or the model cannot be loaded.
    pub async fn open<B: Backend>(
        config: StudioConfig,
        make: impl FnOnce() -> Result<B, BackendError> + Send + 'static,
    ) -> Result<Self, StudioError> {
        let data = config.data.clone();
        let (lock, blobs) = blocking(move || {
            let lock = folder::claim(&data)?;
            Ok((lock, Blobs::open(data.join(crate::blobs::FOLDER))?))
        })
        .await?;
        let store = Store::open(&config.data.join("adire.db")).await?;
        let (worker, Loaded { info: model, counter }, thread) = Worker::start(make).await?;
        let timing = Timing::new(model.native_size, store.timing(&timing_key(&model)).await?);
        let board = Board::new(config.queue_capacity, timing);
        let lock = Mutex::new(Some(lock));
        let library = Library::new(config.data.clone(), store.clone(), blobs.clone());
        let training = Training::open(&config.data, &store).await?;
        let shared = Arc::new(Shared {
            model,
            counter,
            store,
            blobs,
            board,
            worker,
            library,
            training,
            uploads: AsyncMutex::default(),
            receipts: AsyncMutex::default(),
            lock,
        });
        restore::unfinished(&shared).await?;
        shared.store.requeue_jobs().await?;
        let dispatcher = tokio::spawn(dispatch::run(shared.clone()));
        let sweeper = tokio::spawn(sweep::run(shared.clone()));
        let trainer = tokio::spawn(training::run(shared.clone()));
        let parts = Parts { dispatcher, sweeper, trainer, worker: thread };
        Ok(Self { inner: Arc::new(Inner { shared, parts: Mutex::new(Some(parts)) }) })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// The model that is loaded.
    pub fn model(&self) -> &ModelInfo {
        &self.shared().model
    }

    /// How busy the worker is. Reads memory only.
    pub fn queue(&self) -> QueueStatus {
        self.shared().board.status()
    }

    /// How much of the text encoder's room a prompt and a negative prompt take. Does not wait for the model.
    ///
    /// # Errors
    /// A text is longer than requests may have.
    pub async fn count_tokens(
        &self,
        prompt: String,
        negative_prompt: String,
    ) -> Result<(TokenCount, TokenCount), StudioError> {
        prompts::count(self.shared(), prompt, negative_prompt).await
    }

    /// Checks a request and puts it into the queue.
    ///
    /// # Errors
    /// Wrong fields, unknown adapters, a full queue, a full disk.
    pub async fn submit(
        &self,
        request: GenerationRequest,
        visitor: Option<&str>,
    ) -> Result<Generation, StudioError> {
        detached(requests::submit(self.shared().clone(), request, visitor.map(str::to_owned))).await
    }

    /// A generation as it stands.
    ///
    /// # Errors
    /// No such generation.
    pub async fn generation(&self, id: &str) -> Result<Generation, StudioError> {
        views::generation(self.shared(), id).await
    }

    /// Stops a generation: at once while it waits, within one step while it runs (the returned record may
    /// still say `running`; the event tells). One that has ended stays as it is.
    ///
    /// # Errors
    /// No such generation.
    pub async fn cancel(&self, id: &str) -> Result<Generation, StudioError> {
        detached(requests::cancel(self.shared().clone(), id.to_owned())).await
    }

    /// Events with a number above `after`: what has happened, then what happens; ends after the last event,
    /// or when the studio shuts down. Events that newer ones supersede (progress, positions) are left out of
    /// the replay, so numbers grow but may have gaps. After a restart they go on above all earlier ones.
    ///
    /// # Errors
    /// No such generation.
    pub async fn events(&self, id: &str, after: u64) -> Result<EventStream, StudioError> {
        views::events(self.shared(), id, after).await
    }

    /// A visitor's pictures, newest first; `before` is the `created_at` of the last one of the page before.
    /// At most 200 at a time.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn history(
        &self,
        visitor: &str,
        limit: u32,
        before: Option<i64>,
    ) -> Result<Vec<ImageRecord>, StudioError> {
        let rows = self.shared().store.history(visitor, limit.min(200), before.unwrap_or(i64::MAX)).await?;
        rows.into_iter().map(crate::store::ImageRow::record).collect()
    }

    /// A visitor's generations that wait or run, oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn active(&self, visitor: &str) -> Result<Vec<Generation>, StudioError> {
        views::active(self.shared(), visitor).await
    }

    /// The PNG file of a picture: one that was made here, or an upload.
    ///
    /// # Errors
    /// No such picture.
    pub async fn image(&self, hash: &str) -> Result<Vec<u8>, StudioError> {
        views::image(self.shared(), hash).await
    }

    /// Takes a PNG, JPEG or WebP file in, for `init_image` and `mask`: turned as its EXIF data says, what is
    /// transparent over white, and kept as a PNG file of its pixels alone. The same pixels give the same name. One that
    /// no request names within a day is deleted.
    ///
    /// # Errors
    /// It is no such picture, or too large; or it cannot be stored.
    pub async fn upload(&self, bytes: Vec<u8>) -> Result<Upload, StudioError> {
        uploads::take(self.shared().clone(), bytes).await
    }

    /// Every adapter version, by name, the newest version of each first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn adapters(&self) -> Result<Vec<AdapterVersion>, StudioError> {
        self.shared().store.adapters().await
    }

    /// An adapter version (`name@vN`, or `name` for the newest) with what its file does to the model. The receipt is
    /// absent when the model stays busy for some seconds; it is made then and kept.
    ///
    /// # Errors
    /// No such version; its file is lost.
    pub async fn adapter(&self, name: &str) -> Result<AdapterDetail, StudioError> {
        adapters::detail(self.shared().clone(), name).await
    }

    /// The file of an adapter version, and the version.
    ///
    /// # Errors
    /// No such version; its file is lost.
    pub async fn adapter_file(&self, name: &str) -> Result<(AdapterVersion, PathBuf), StudioError> {
        adapters::file(self.shared(), name).await
    }

    /// Takes an adapter file in, after the picture that is being made. The same file under the same name
    /// and version (or without a version) gives the version that exists.
    ///
    /// # Errors
    /// The name is wrong, the file does not fit the model, the version exists with another content.
    pub async fn add_adapter(&self, new: NewAdapter) -> Result<AdapterVersion, StudioError> {
        detached(adapters::add(self.shared().clone(), new)).await
    }

    /// Every dataset, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn datasets(&self) -> Result<Vec<DatasetSummary>, StudioError> {
        self.shared().library.list().await
    }

    /// Makes a dataset without pictures.
    ///
    /// # Errors
    /// Wrong fields.
    pub async fn create_dataset(&self, new: NewDataset) -> Result<DatasetRecord, StudioError> {
        self.shared().library.create(new).await
    }

    /// A dataset with everything in it.
    ///
    /// # Errors
    /// No such dataset.
    pub async fn dataset(&self, id: &str) -> Result<DatasetRecord, StudioError> {
        self.shared().library.read(id).await
    }

    /// Takes in a file for a dataset, as its bytes come; it is deleted when what is returned is dropped.
    ///
    /// # Errors
    /// The bytes do not come, are too many, or cannot be stored.
    pub async fn receive<B: AsRef<[u8]>, E: std::fmt::Display>(
        &self,
        name: &str,
        chunks: impl futures::Stream<Item = Result<B, E>>,
    ) -> Result<Incoming, StudioError> {
        self.shared().library.receive(name, chunks).await
    }

    /// Adds what was brought to a dataset: pictures (PNG, JPEG, WebP), captions for them (`a.txt` beside `a.png`,
    /// `metadata.jsonl`, folders named `10_words`), zip files with both. What cannot be used is among the remarks.
    ///
    /// # Errors
    /// No such dataset, a frozen one, or nothing can be stored.
    pub async fn add_to_dataset(&self, id: &str, files: Vec<Incoming>) -> Result<DatasetRecord, StudioError> {
        let (shared, id) = (self.shared().clone(), id.to_owned());
        detached(async move { shared.library.add(&id, files).await }).await
    }

    /// Adds the pictures of a folder of this machine to a dataset, as [`Self::add_to_dataset`] does.
    ///
    /// # Errors
    /// As there; the folder cannot be read, or nothing in it can be used.
    pub async fn import_folder(&self, id: &str, folder: &Path) -> Result<DatasetRecord, StudioError> {
        let (shared, id, folder) = (self.shared().clone(), id.to_owned(), folder.to_owned());
        detached(async move { shared.library.import(&id, &folder).await }).await
    }

    /// Changes a dataset's texts.
    ///
    /// # Errors
    /// No such dataset or picture, a frozen one, wrong fields.
    pub async fn change_dataset(
        &self,
        id: &str,
        change: DatasetChange,
    ) -> Result<DatasetRecord, StudioError> {
        let (shared, id) = (self.shared().clone(), id.to_owned());
        detached(async move { shared.library.change(&id, change).await }).await
    }

    /// Takes a picture out of a dataset.
    ///
    /// # Errors
    /// No such dataset or picture, a frozen one.
    pub async fn remove_from_dataset(&self, id: &str, picture: &str) -> Result<DatasetRecord, StudioError> {
        let (shared, id, picture) = (self.shared().clone(), id.to_owned(), picture.to_owned());
        detached(async move { shared.library.remove(&id, &picture).await }).await
    }

    /// A new draft with a dataset's content; its name when `name` is left out.
    ///
    /// # Errors
    /// No such dataset, a wrong name.
    pub async fn copy_dataset(&self, id: &str, name: Option<String>) -> Result<DatasetRecord, StudioError> {
        let (shared, id) = (self.shared().clone(), id.to_owned());
        detached(async move { shared.library.copy(&id, name).await }).await
    }

    /// A JPEG of a picture of a dataset, at most 320 pixels a side.
    ///
    /// # Errors
    /// No such picture; its file is lost.
    pub async fn thumbnail(&self, dataset: &str, picture: &str) -> Result<Vec<u8>, StudioError> {
        self.shared().library.thumbnail(dataset, picture).await
    }

    /// Checks a training and puts it into the queue. Its datasets never change from then on.
    ///
    /// # Errors
    /// Wrong fields, an empty dataset.
    pub async fn train(&self, request: TrainingRequest) -> Result<TrainingJob, StudioError> {
        detached(training::submit(self.shared().clone(), request)).await
    }

    /// Every training, the newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn trainings(&self) -> Result<Vec<TrainingJob>, StudioError> {
        training::jobs(self.shared()).await
    }

    /// A training with its points and samples.
    ///
    /// # Errors
    /// No such training.
    pub async fn training(&self, id: &str) -> Result<TrainingDetail, StudioError> {
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
    pub async fn pause_training(&self, id: &str) -> Result<TrainingJob, StudioError> {
        detached(training::pause(self.shared().clone(), id.to_owned())).await
    }

    /// Has a paused or failed training go on from its checkpoint.
    ///
    /// # Errors
    /// No such training, or one that is done or cancelled.
    pub async fn resume_training(&self, id: &str) -> Result<TrainingJob, StudioError> {
        detached(training::resume(self.shared().clone(), id.to_owned())).await
    }

    /// Stops a training for good, within one unit of its work.
    ///
    /// # Errors
    /// No such training, or one that is done.
    pub async fn cancel_training(&self, id: &str) -> Result<TrainingJob, StudioError> {
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

    /// Takes no more requests, lets the running step end and leaves what is unfinished for the next start.
    /// Every event stream ends, the model is unloaded and the data folder is free for another server. A
    /// second call returns at once.
    pub async fn shutdown(&self) {
        let shared = self.shared();
        let parts = self.inner.parts.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(parts) = parts else { return };
        // In this order: no new work; dispatcher and trainer put their jobs back and end; nobody publishes any more,
        // so streams can end; nobody asks the worker any more, so it can end; nobody writes any more, so the
        // database and the folder can be let go.
        shared.board.close();
        shared.training.changed();
        parts.sweeper.abort();
        for (task, name) in [(parts.dispatcher, "dispatcher"), (parts.trainer, "trainer")] {
            if let Err(error) = task.await {
                tracing::error!(%error, name, "a task ended badly");
            }
        }
        shared.board.hang_up();
        shared.worker.exit();
        let ended = blocking(move || Ok(parts.worker.join().is_ok())).await;
        if !matches!(ended, Ok(true)) {
            tracing::error!("the model's thread ended badly");
        }
        shared.store.close().await;
        drop(shared.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
