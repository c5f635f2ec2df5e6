//! The studio: requests wait in a bounded queue, one worker thread owns the model, images and adapter
//! versions are kept in a data folder. Knows no tensors, HTTP or UI; the model is behind [`Backend`].
//!
//! The way of a request: `requests` checks it and writes its rows, which puts it into the `queue`; the task of `work` claims
//! the `job` and has the `worker` make its images, which go to `blobs` and `store`; what happens are numbered `events`.
//! `views` serves reads.
//!
//! `dataset` keeps images to train on; `training` is to a training run what requests and views are to a generation.

mod adapters;
mod additions;
mod admin;
mod alerts;
mod backend;
mod blobs;
mod client;
mod closed_stats;
mod comparisons;
mod control;
mod data_folder;
mod dataset;
mod decode;
mod decoders;
mod deletion;
mod disk;
mod embeddings;
mod error;
pub mod evaluation;
mod evaluations;
mod events;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod folder;
mod gc;
mod history;
mod image_input;
mod job;
mod ledger;
mod limits;
mod lineage;
mod measure;
mod memory;
mod metadata;
mod monitoring;
mod own_suite;
mod png;
mod production;
mod prompts;
mod publication;
mod push_queue;
mod pushes;
mod queue;
mod recent;
mod recipe;
mod registry;
mod regular_file;
mod requests;
mod shadows;
mod shared;
mod shares;
mod sheets;
mod stats;
mod store;
mod studio;
mod tasks;
#[cfg(test)]
mod tests;
pub mod time;
mod timing;
mod training;
mod training_control;
mod unused_blobs;
mod uploads;
mod views;
mod votes;
mod wildcards;
mod work;
mod worker;

use std::{path::PathBuf, pin::Pin};

pub use additions::MAX_ADAPTER_BYTES;
pub use alerts::Delivery;
pub use backend::{
    AdapterFile, Backend, BackendError, BundledWords, EmbeddingFacts, EmbeddingFault, EmbeddingFile,
    EmbeddingReader, FeatureRequest, FeatureSet, ImageUpdate, InitFiles, JudgeInfo, KnownResults,
    MemoryGauge, Pixels, RenderRequest, RenderStep, Rendered, TokenCounter, TrainingImage, TrainingTask,
    UnitOutcome,
};
pub use blobs::{Blob, BlobPlace, BlobStream, Bucket, LocalFile, download_blob};
pub use client::{By, Client, Network, Visitor};
pub use data_folder::DataFolder;
pub use dataset::{Dataset, DatasetImage, ImportWarning, UploadedFile, read_dataset, sample_prompts};
pub use decode::{Decoded, ImageUse, decode_image, decode_pixels, decode_with_alpha};
pub use embeddings::MAX_EMBEDDING_BYTES;
pub use error::{ErrorKind, StudioError};
pub use events::{JobEvent, JobEventStream, JobUpdate};
pub use image_input::{cover, cover_mask, read_image, read_pixels, size_of_request};
pub use limits::{Caps, Retention};
pub use measure::{CopyingMeasurements, CopyingRequest, MeasureRequest, Measurements, Seen};
pub use monitoring::Total;
pub use png::{encode_png, encode_with_recipe, read_recipe, read_request, read_texts};
pub use publication::Publication;
pub use registry::Mover;
pub use stats::BUCKETS_MS;
pub use store::DatabaseUrl;
pub use studio::{Studio, StudioConfig};
pub use training::{STEPS_FOLDER, TrainingFile, step_file};
pub use uploads::{MAX_UPLOAD_BYTES, image_hash};
pub use wildcards::read_wildcards;
pub use work::PushTask;

/// Where the file with this sha256 lies in the data folder `data`, whether or not it is there; `None` for what is
/// no sha256.
pub fn blob_path(data: &std::path::Path, hash: &str) -> Option<PathBuf> {
    blobs::path_below(&data.join(folder::BLOBS), hash)
}

/// The events of one generation; ends after the last one.
pub type EventStream = Pin<Box<dyn futures::Stream<Item = adire_protocol::Event> + Send + 'static>>;

/// An embedding to be kept.
#[derive(Clone, Debug)]
pub struct NewEmbedding {
    /// The word that stands for it in prompts.
    pub word: String,
    /// Its safetensors file; it is copied.
    pub path: PathBuf,
    /// Vectors that stand for the word.
    pub vectors: u32,
    /// Numbers in each of them.
    pub width: u32,
}

/// An adapter file to add.
#[derive(Clone, Debug)]
pub struct NewAdapter {
    /// Name without version.
    pub name: String,
    /// Version; the next number when absent.
    pub version: Option<u32>,
    /// The file; it is copied.
    pub path: PathBuf,
    /// What it teaches, one sentence; may be empty.
    pub description: String,
    /// Trigger words; may be empty.
    pub trigger: String,
    /// Refuse a file that takes effect only in part.
    pub strict: bool,
}
