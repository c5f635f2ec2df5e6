//! The studio's public API: everything the server and the page call.

mod alerts;
mod comparisons;
mod datasets;
mod evaluations;
mod figures;
mod files;
mod history;
mod import;
mod imported;
mod lineage;
mod mirrors;
mod moves;
mod pushes;
mod shadows;
mod shares;
mod sheets;
mod training;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use adire_protocol::{
    AdapterDetail, AdapterVersion, Generation, GenerationRequest, ImageRecord, ModelInfo, QueueStatus,
    TokenCount, Upload,
};
use bytes::Bytes;
use tokio::{
    sync::{Mutex as AsyncMutex, Notify},
    task::JoinHandle,
};

use crate::{
    Backend, BackendError, By, Caps, Client, DatabaseUrl, EventStream, FeatureRequest, FeatureSet, ImageUse,
    JudgeInfo, LocalFile, Retention, StudioError, Visitor, adapters,
    blobs::{Blob, BlobPlace, Blobs},
    closed_stats::ClosedStats,
    dataset::DatasetStore,
    decoders::Decoders,
    disk::Disk,
    evaluation, folder, gc, monitoring, production, prompts,
    queue::{Work, WorkConfig},
    recent::RecentFiles,
    recipe, requests,
    shared::{Shared, timing_key},
    store::Store,
    tasks::{blocking, detached},
    time::now,
    timing::Timing,
    training_control::TrainingControl,
    uploads, views, work,
    worker::{Loaded, Worker},
};

/// Where a studio keeps its things and how much it takes on.
#[derive(Clone, Debug)]
pub struct StudioConfig {
    /// Data folder; made when absent.
    pub data: PathBuf,
    /// The PostgreSQL database that holds the rows; `None`: SQLite, in a file of the data folder.
    pub database: Option<DatabaseUrl>,
    /// Where images, uploads, adapters and the other files of rows are.
    pub blobs: BlobPlace,
    /// Most generations that may wait.
    pub queue_capacity: usize,
    /// Folders of this machine that datasets may be filled from, with all that is in them.
    pub import_from: Vec<PathBuf>,
    /// How long filling a dataset from such a folder may take.
    pub import_time: Duration,
    /// How much each visitor and network may have.
    pub caps: Caps,
    /// How long things are kept.
    pub retention: Retention,
    /// Whether files of adapters are given out.
    pub downloads: bool,
}

impl StudioConfig {
    /// The usual settings for a data folder.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            database: None,
            blobs: BlobPlace::default(),
            queue_capacity: 32,
            import_from: Vec::new(),
            import_time: Duration::from_secs(600),
            caps: Caps::default(),
            retention: Retention::default(),
            downloads: true,
        }
    }
}

/// A handle to the one studio of a process; clones are cheap.
///
/// Its functions can be dropped half-way (a client hangs up) without harm: what must not stop in the middle
/// runs in a task of its own. When the last handle is dropped without [`Studio::shutdown`], everything stops
/// where it is, as in a crash; nothing stored is lost and the next start resumes.
#[derive(Clone)]
pub struct Studio {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    /// Taken by the first shutdown. The mutex is held for the taking only.
    tasks: Mutex<Option<TaskHandles>>,
}

/// What a shutdown waits for.
struct TaskHandles {
    scheduler: JoinHandle<()>,
    keeper: JoinHandle<()>,
    gc_task: JoinHandle<()>,
    uptime: JoinHandle<()>,
    alerts: JoinHandle<()>,
    sheets: JoinHandle<()>,
    /// Checks the files of the versions in production once.
    checker: JoinHandle<()>,
    worker: thread::JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(tasks) = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            // With the scheduler go the receiver of the worker's updates, which ends its image within one
            // step, and the last sender of requests, which ends its thread.
            tasks.scheduler.abort();
            tasks.keeper.abort();
            tasks.gc_task.abort();
            tasks.checker.abort();
            tasks.uptime.abort();
            tasks.alerts.abort();
            tasks.sheets.abort();
        }
    }
}

impl Studio {
    /// Opens the data folder, loads the model on its own thread (`make` runs there) and resumes what
    /// was left unfinished.
    ///
    /// # Errors
    /// The folder cannot be used, another server uses it, or the model cannot be loaded.
    pub async fn open<B: Backend>(
        config: StudioConfig,
        make: impl FnOnce() -> Result<B, BackendError> + Send + 'static,
    ) -> Result<Self, StudioError> {
        let data = config.data.clone();
        let (lock, node) = blocking(move || Ok((folder::claim(&data)?, folder::node(&data)?))).await?;
        let blobs = Blobs::open(&config.data, &config.blobs).await?;
        let store = Store::open(&config.data, config.database.as_ref()).await?;
        store.fill_stats().await?;
        let (worker, loaded, thread) = Worker::start(make).await?;
        let Loaded { info: model, counter, bundled_words, embedding_reader, device_memory, metrics } = loaded;
        let timing = Timing::new(model.native_size, store.timing(&timing_key(&model)).await?);
        let StudioConfig { caps, retention, downloads, .. } = config.clone();
        let work = Work::new(WorkConfig {
            node,
            capacity: config.queue_capacity,
            timing,
            caps: caps.clone(),
            budget: caps.budget(&model),
            newest_image: store.newest_image_at().await?,
        });
        let lock = Mutex::new(Some(lock));
        let datasets = DatasetStore::new(config.data.clone(), store.clone(), blobs.clone());
        let training = TrainingControl::open(&config.data, &store).await?;
        let shared = Arc::new(Shared {
            model,
            counter,
            bundled_words,
            embedding_reader,
            device_memory,
            metrics,
            started_at: now(),
            store,
            blobs,
            work,
            worker,
            datasets,
            training,
            import_from: config.import_from,
            import_time: config.import_time,
            disk: Disk::new(config.data.clone(), caps.disk_reserve),
            caps,
            retention,
            downloads,
            decoders: Decoders::default(),
            closed_stats: ClosedStats::default(),
            recent: RecentFiles::default(),
            sheets: Notify::new(),
            tracking: Mutex::default(),
            receipts: AsyncMutex::default(),
            lock,
        });
        work::unfinished(&shared).await?;
        let scheduler = tokio::spawn(work::run(shared.clone()));
        let keeper = tokio::spawn(work::keep(shared.clone()));
        let gc_task = tokio::spawn(gc::run(shared.clone()));
        let checker = tokio::spawn(production::check_all(shared.clone(), now()));
        let span = monitoring::note_start(&shared).await;
        let uptime = tokio::spawn(monitoring::note_uptime(shared.clone(), span));
        let alerts = tokio::spawn(crate::alerts::run(shared.clone()));
        let sheets = tokio::spawn(crate::sheets::run(shared.clone()));
        let tasks =
            TaskHandles { scheduler, keeper, gc_task, uptime, alerts, sheets, checker, worker: thread };
        Ok(Self { inner: Arc::new(Inner { shared, tasks: Mutex::new(Some(tasks)) }) })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// The model that is loaded.
    pub fn model(&self) -> &ModelInfo {
        &self.shared().model
    }

    /// The judge that evaluations score by; the first call loads it.
    ///
    /// # Errors
    /// There is none, or its files cannot be used.
    pub async fn judge(&self) -> Result<JudgeInfo, StudioError> {
        evaluation::judge(&self.shared().worker).await
    }

    /// What the judge sees in images and texts. Generations go between every few of them.
    ///
    /// # Errors
    /// As for [`Self::judge`]; an image lacks bytes.
    pub async fn features(&self, request: FeatureRequest) -> Result<FeatureSet, StudioError> {
        evaluation::features(&self.shared().worker, request).await
    }

    /// How busy the worker is. Reads memory only.
    pub fn queue(&self) -> QueueStatus {
        self.shared().work.status()
    }

    /// How much of the text encoder's room a prompt and a negative prompt take, with the words of embeddings that these
    /// adapters bundle; unknown ones have none. Does not wait for the model.
    ///
    /// # Errors
    /// A text is longer than requests may have.
    pub async fn count_tokens(
        &self,
        prompt: String,
        negative_prompt: String,
        adapters: Vec<String>,
    ) -> Result<(TokenCount, TokenCount), StudioError> {
        prompts::count(self.shared(), prompt, negative_prompt, adapters).await
    }

    /// Checks a request and puts it into the queue.
    ///
    /// # Errors
    /// Wrong fields, unknown adapters, a full queue, more than `client` may have in it, a full disk.
    pub async fn submit(
        &self,
        request: GenerationRequest,
        client: &Client,
    ) -> Result<Generation, StudioError> {
        detached(requests::submit(self.shared().clone(), request, client.into(), requests::Reach::Versions))
            .await
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
    /// No such generation, or another visitor's.
    pub async fn cancel(&self, id: &str, by: By<'_>) -> Result<Generation, StudioError> {
        detached(requests::cancel(self.shared().clone(), id.to_owned(), by.into())).await
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

    /// A visitor's images, newest first; `before` is the `created_at` of the last one of the page before.
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
        let visitor = Visitor(visitor.to_owned()).digest();
        let rows = self.shared().store.history(&visitor, limit.min(200), before.unwrap_or(i64::MAX)).await?;
        rows.into_iter().map(crate::store::ImageRow::record).collect()
    }

    /// A visitor's generations that wait or run, oldest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn active(&self, visitor: &str) -> Result<Vec<Generation>, StudioError> {
        views::active(self.shared(), &Visitor(visitor.to_owned()).digest()).await
    }

    /// The PNG file of an image that was made here, or of an upload. It never changes, but may be deleted.
    ///
    /// # Errors
    /// No such image; its file is lost.
    pub async fn image_file(&self, hash: &str) -> Result<Blob, StudioError> {
        views::image_file(self.shared(), hash).await
    }

    /// The content of the file of an image whose record this studio gave.
    ///
    /// # Errors
    /// Its file is lost.
    pub async fn file_of(&self, image: &ImageRecord) -> Result<Bytes, StudioError> {
        views::file_of_image(self.shared(), &image.hash).await
    }

    /// The content of the other file, for tests: what sends it to clients reads it piece by piece.
    #[cfg(test)]
    pub(crate) async fn image(&self, hash: &str) -> Result<Vec<u8>, StudioError> {
        self.image_file(hash).await?.bytes().await
    }

    /// The request that generated an image (PNG, JPEG, WebP), from the texts in its file. `as_read`: as it stands there;
    /// otherwise fields that this server would refuse are dropped and listed in its `warnings`.
    ///
    /// # Errors
    /// The file is not such an image, or has no parameters; or the store cannot be read.
    pub async fn recipe(
        &self,
        file: impl AsRef<[u8]> + Send + 'static,
        as_read: bool,
    ) -> Result<GenerationRequest, StudioError> {
        let request = recipe::read(file).await?;
        if as_read { Ok(request) } else { recipe::acceptable(self.shared(), request).await }
    }

    /// Takes a PNG, JPEG or WebP file in, for `init_image` and `mask`: turned as its EXIF data says, what is
    /// transparent over white, and kept as a PNG file of its pixels alone. The same pixels give the same name. One that
    /// no request names within a day is deleted. At most 20 MiB; they go to the disk as they come.
    ///
    /// # Errors
    /// The file is not a supported image or too large; `client` has reached its quota, too many are being read, or it cannot be
    /// stored.
    pub async fn upload<B: AsRef<[u8]>, E: std::fmt::Display>(
        &self,
        chunks: impl futures::Stream<Item = Result<B, E>>,
        used_as: ImageUse,
        client: &Client,
    ) -> Result<Upload, StudioError> {
        uploads::take(self.shared().clone(), chunks, used_as, client.into()).await
    }

    /// Does work that decodes images of `client`'s when its turn comes: those of one network one at a time, a few in all,
    /// as uploads are decoded. `work` may block; it runs to its end even where nobody waits for it any more.
    ///
    /// # Errors
    /// `client` has reached its quota of uploads, or too many images are being read.
    pub async fn in_turn<T: Send + 'static>(
        &self,
        client: &Client,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StudioError> {
        uploads::in_turn(self.shared(), client.into(), work).await
    }

    /// Every adapter version that may be used, by name, the newest version of each first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn adapters(&self) -> Result<Vec<AdapterVersion>, StudioError> {
        adapters::offered(self.shared()).await
    }

    /// An adapter version (`name@vN`, `name@alias`, or `name` for the newest) with what its file does to the model. The receipt is
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
    /// No such version; it is not given out; its file is lost.
    pub async fn adapter_file(&self, name: &str) -> Result<(AdapterVersion, Blob), StudioError> {
        adapters::file(self.shared(), name).await
    }

    /// The file of an adapter version on this machine, to be given out in another format, and the version.
    ///
    /// # Errors
    /// No such version; it is not given out; its file is lost.
    pub async fn adapter_local(&self, name: &str) -> Result<(AdapterVersion, LocalFile), StudioError> {
        adapters::local_file(self.shared(), name).await
    }

    /// Takes no more requests, lets the running step end and leaves what is unfinished for the next start.
    /// Every event stream ends, the model is unloaded and the data folder is free for another server. A
    /// second call returns at once.
    pub async fn shutdown(&self) {
        let shared = self.shared();
        let tasks = self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(tasks) = tasks else { return };
        // In this order: no new work; the scheduler puts its jobs back and ends; nobody publishes any more,
        // so streams can end; nobody asks the worker any more, so it can end; nobody writes any more, so the
        // database and the folder can be let go.
        shared.work.close();
        for task in [tasks.gc_task, tasks.checker, tasks.uptime, tasks.alerts, tasks.sheets] {
            task.abort();
            // Once it is gone, so is what it held of the database.
            let _ = task.await;
        }
        if let Err(error) = tasks.scheduler.await {
            tracing::error!(%error, "the scheduler ended badly");
        }
        tasks.keeper.abort();
        shared.work.close_streams();
        shared.worker.exit();
        let ended = blocking(move || Ok(tasks.worker.join().is_ok())).await;
        if !matches!(ended, Ok(true)) {
            tracing::error!("the model's thread ended badly");
        }
        shared.remember_cost().await;
        shared.store.close().await;
        drop(shared.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
