//! What the server, the engine and the page say to one another: requests, events, records and errors,
//! as plain serde types. Knows no tensors, SQL, HTTP or UI; nothing of Adire's own lies below this crate.

mod adapter;
mod control;
mod dataset;
mod draft;
mod embedding;
mod event;
mod foreign;
mod generation;
mod hires;
pub mod infotext;
mod job;
pub mod lora_tag;
mod model;
pub mod reading;
mod receipt;
mod sampler;
pub mod seed;
mod training;
mod validate;
mod visible;

pub use adapter::{AdapterRef, AdapterUse, AdapterVersion, ParseAdapterRefError};
pub use control::{Cancelled, Deleted, GalleryImage, ListedVersion, QueueEntry, QueueOwner, VersionChange};
pub use dataset::{
    DATASET_NAME, DatasetChange, DatasetPictureRecord, DatasetRecord, DatasetRemark, DatasetSummary,
    LONGEST_CAPTION, MOST_REPEATS, NewDataset, thumbnail_url,
};
pub use embedding::{EmbeddingRecord, EmbeddingUse};
pub use event::{Event, GenerationEvent, Progress, QueueStatus};
pub use generation::{
    Generation, GenerationRequest, GenerationSpec, GenerationState, ImageRecord, Links, Recipe, Upload,
};
pub use hires::{
    HIRES_SCALE, HIRES_STRENGTH, HiresRequest, HiresSpec, HiresUpscaler, INIT_STRENGTH,
    ParseHiresUpscalerError, Pass,
};
pub use job::{
    RESERVED, TrainingChange, TrainingDetail, TrainingEvent, TrainingForecast, TrainingJob, TrainingPoint,
    TrainingRequest, TrainingSample, TrainingSettings, TrainingStage, TrainingState,
};
pub use model::{Defaults, ExamplePrompt, ModelInfo, TokenCount, VaeUse};
pub use receipt::{AdapterDetail, AdapterLayer, AdapterReceipt, BlockChange, LeftOut, SkippedAdapterLayer};
pub use sampler::{ParseRngError, ParseSamplerError, Rng, Sampler};
pub use training::{Crop, LearningRateSchedule, Preset, Targets, TrainingConfig};
pub use validate::{FieldError, Limits, ValidationError};
pub use visible::visible;
