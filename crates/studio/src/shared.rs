//! What the parts of an open studio share.

use std::{path::PathBuf, sync::Mutex, time::Duration};

use adire_protocol::{MetricInfo, ModelInfo, Tracking};
use tokio::sync::{Mutex as AsyncMutex, Notify};

use crate::{
    BundledWords, EmbeddingReader, MemoryGauge, TokenCounter,
    blobs::Blobs,
    closed_stats::ClosedStats,
    dataset::DatasetStore,
    decoders::Decoders,
    disk::Disk,
    folder::FolderLock,
    limits::{Caps, Retention},
    queue::Work,
    recent::RecentFiles,
    store::Store,
    training_control::TrainingControl,
    worker::Worker,
};

/// Everything behind a [`crate::Studio`].
pub(crate) struct Shared {
    pub(crate) model: ModelInfo,
    pub(crate) counter: TokenCounter,
    pub(crate) bundled_words: BundledWords,
    pub(crate) embedding_reader: EmbeddingReader,
    pub(crate) device_memory: MemoryGauge,
    /// When the studio was opened.
    pub(crate) started_at: i64,
    pub(crate) store: Store,
    pub(crate) blobs: Blobs,
    /// What an evaluation measures.
    pub(crate) metrics: Vec<MetricInfo>,
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
    pub(crate) closed_stats: ClosedStats,
    pub(crate) recent: RecentFiles,
    /// Wakes the task that fills sheets.
    pub(crate) sheets: Notify,
    /// How the tracking server stands.
    pub(crate) tracking: Mutex<Option<Tracking>>,
    /// Held while a receipt is made: many who ask for one at once cost the model no more than one.
    pub(crate) receipts: AsyncMutex<()>,
    /// Let go by a shutdown, else when the last task that could still write is gone. The mutex is only ever
    /// held to take it.
    pub(crate) lock: Mutex<Option<FolderLock>>,
}

impl Shared {
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
