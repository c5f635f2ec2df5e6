//! What the parts of an open studio share, and how they reach adapters and blocking work.

use std::{
    path::PathBuf,
    sync::Mutex,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use adire_protocol::{AdapterUse, AdapterVersion, ModelInfo};
use tokio::sync::Mutex as AsyncMutex;

use crate::{
    AdapterFile, BundledWords, StudioError, TokenCounter,
    blobs::Blobs,
    dataset::dataset_store::DatasetStore,
    disk::Disk,
    folder::FolderLock,
    limits::{Caps, Retention},
    store::{Listed, Store},
    training::TrainingControl,
    uploads::Decoders,
    work::Work,
    worker::Worker,
};

/// Everything behind a [`crate::Studio`].
pub(crate) struct Shared {
    pub(crate) model: ModelInfo,
    pub(crate) counter: TokenCounter,
    pub(crate) bundled_words: BundledWords,
    pub(crate) store: Store,
    pub(crate) blobs: Blobs,
    pub(crate) work: Work,
    pub(crate) worker: Worker,
    pub(crate) datasets: DatasetStore,
    pub(crate) training: TrainingControl,
    /// Folders of this machine that datasets may be filled from, and how long that may take.
    pub(crate) import_from: Vec<PathBuf>,
    pub(crate) import_time: Duration,
    pub(crate) disk: Disk,
    pub(crate) caps: Caps,
    pub(crate) retention: Retention,
    /// Whether files of adapters are given out at all.
    pub(crate) downloads: bool,
    pub(crate) decoders: Decoders,
    /// Held while a receipt is made: many who ask for one at once cost the model no more than one.
    pub(crate) receipts: AsyncMutex<()>,
    /// Let go by a shutdown, else when the last task that could still write is gone. The mutex is only ever
    /// held to take it.
    pub(crate) lock: Mutex<Option<FolderLock>>,
}

impl Shared {
    /// The files of adapters that a request names in full.
    pub(crate) async fn adapter_files(&self, uses: &[AdapterUse]) -> Result<Vec<AdapterFile>, StudioError> {
        if uses.is_empty() {
            return Ok(Vec::new());
        }
        // A version that was hidden after the request was taken is used all the same; one that was deleted is gone.
        let known = self.store.all_adapters().await?;
        let is_gone = |listed: &&Listed| listed.deleted_at.is_some();
        let gone: Vec<String> = known.iter().filter(is_gone).map(|listed| listed.version.id()).collect();
        let known: Vec<AdapterVersion> = known.into_iter().map(|listed| listed.version).collect();
        let mut files = Vec::with_capacity(uses.len());
        for adapter in uses {
            let version = crate::adapters::resolve(&known, &adapter.name)?;
            if gone.contains(&version.id()) {
                return Err(StudioError::Adapter(format!(
                    "Adapter {} was deleted while this generation was queued. Choose another one.",
                    version.id()
                )));
            }
            let path = crate::adapters::local(&self.blobs, version).await?;
            let (id, hash) = (version.id(), version.hash.clone());
            let (strength, te_strength) = (adapter.strength, adapter.text_encoder_strength());
            files.push(AdapterFile { id, hash, path, strength, te_strength });
        }
        Ok(files)
    }

    /// Keeps measured times for the next start. Losing one does no harm.
    pub(crate) async fn remember_cost(&self) {
        let Some(cost) = self.work.cost() else { return };
        if let Err(error) = self.store.save_timing(&timing_key(&self.model), cost.step, cost.fixed).await {
            tracing::warn!(%error, "timings were not stored");
        }
    }
}

/// Under what name times are kept: they belong to a model on a device.
pub(crate) fn timing_key(model: &ModelInfo) -> String {
    format!("{} {} {}", model.hash, model.device, model.dtype)
}

/// Milliseconds since 1970 (UTC).
pub(crate) fn now() -> i64 {
    milliseconds(SystemTime::now())
}

/// A time in milliseconds since 1970 (UTC).
pub(crate) fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Does disk or CPU work on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StudioError> + Send + 'static,
) -> Result<T, StudioError> {
    // A task that cannot be joined was stopped with the runtime.
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(StudioError::ShuttingDown))
}

/// Runs to the end even when the caller is dropped half-way.
pub(crate) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, StudioError>> + Send + 'static,
) -> Result<T, StudioError> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        if error.is_panic() {
            tracing::error!(%error, "a task of the studio panicked");
            return Err(StudioError::Backend("The studio hit a bug; please report it.".to_owned()));
        }
        // Stopped together with the runtime.
        Err(StudioError::ShuttingDown)
    })
}
