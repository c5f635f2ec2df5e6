//! Types shared by server, engine and page: requests, events, records and errors, as plain serde types. Knows no
//! tensors, SQL, HTTP or UI, and depends on no other crate of Adire.

mod adapter;
mod alerts;
mod comparison;
mod control;
mod dataset;
pub mod decimal;
mod draft;
mod embedding;
mod evaluation;
mod event;
pub mod fields;
mod foreign;
mod foreign_names;
mod generation;
mod hires;
mod history;
mod image_prompts;
mod imported;
pub mod infotext;
mod limits;
mod lineage;
pub mod lora_tag;
mod model;
mod monitoring;
mod old_names;
mod progress;
mod push;
pub mod reading;
mod receipt;
mod registry;
mod rng;
mod sampler;
mod sampling;
mod schedule;
pub mod seed;
mod shadow;
mod share;
mod sheet;
pub mod template;
mod text;
mod training_config;
mod training_run;
mod validate;
mod verdict;
mod visible;

pub use adapter::{AdapterRef, AdapterUse, AdapterVersion, ParseAdapterRefError, Which};
pub use alerts::{Alert, AlertDelivery, AlertMeasure, AlertRule, AlertSettings, Alerts, MuteRequest};
pub use comparison::{Ballot, BallotPair, ComparisonRecord, ComparisonRequest, ComparisonState, VoteChoice};
pub use control::{
    Cancelled, Deleted, GalleryImage, Intake, JobChange, JobMove, JobQueue, ListedVersion, MAX_NOTE_CHARS,
    QueueEntry, QueueOwner, QueuedJob, QueuedKind, VersionChange,
};
pub use dataset::{
    DatasetChange, DatasetImageRecord, DatasetRecord, DatasetSummary, ImportWarning, MAX_CAPTION_BYTES,
    MAX_DATASET_NAME_CHARS, MAX_REPEATS, NewDataset, thumbnail_url,
};
pub use embedding::{EmbeddingRecord, EmbeddingUse};
pub use evaluation::{
    EvaluationDetail, EvaluationImage, EvaluationRecord, EvaluationRequest, EvaluationState, EvaluationStep,
    EvaluationStepName, GatePolicy, StepState,
};
pub use event::{Event, GenerationEvent};
pub use foreign_names::{a1111_request_sampling, a1111_sampling};
pub use generation::{
    Generation, GenerationRequest, GenerationSpec, GenerationState, ImageRecord, Links, Recipe, Upload,
    WaitReason,
};
pub use hires::{
    HIRES_SCALE, HIRES_STRENGTH, HiresRequest, HiresSpec, HiresUpscaler, INIT_STRENGTH,
    ParseHiresUpscalerError, Pass,
};
pub use history::{
    FlagRecord, FlagRequest, HistoryImage, HistoryPage, HistoryQuery, ImageRef, ImageSelection,
    MAX_FLAG_CHARS, MAX_HISTORY_PAGE, Rating, SuiteText, Thumb,
};
pub use imported::{ImportedRun, ImportedRunDetail, MetricPoint};
pub use limits::{FieldError, Limits, ValidationError};
pub use lineage::{Lineage, LineageEdge, LineageKind, LineageNode, LineageRole, LineageTotal};
pub use model::{Defaults, ExamplePrompt, ModelInfo, TokenCount, VaeUse};
pub use monitoring::{
    CauseCount, Figures, Memory, Monitoring, Percentiles, Period, PromptCount, RatingCount, SeriesPoint,
    Tracking, Uptime,
};
pub use old_names::{RENAMED, Renamed};
pub use progress::{Progress, QueueStatus};
pub use push::{PushRecord, PushRequest, PushState, is_repository};
pub use receipt::{AdapterDetail, AdapterLayer, AdapterReceipt, BlockChange, LeftOut, SkippedAdapterLayer};
pub use registry::{
    AliasRequest, Ledger, LedgerAction, LedgerCheck, LedgerEntry, LedgerFault, LedgerMove, MAX_REASON_CHARS,
    PRODUCTION, ProductionAt, PromotionRequest, RollbackRequest, Smoke, SmokeResult, Stage, StageRequest,
    VerdictOutcome, is_alias,
};
pub use rng::{ParseRngError, Rng};
pub use sampler::{ParseSamplerError, Sampler, SamplerName};
pub use sampling::Sampling;
pub use schedule::{ParseScheduleError, Schedule};
pub use shadow::{
    MAX_SHADOW, SHADOW_EVERY, SHADOW_PAIRS, ShadowMeasure, ShadowOutcome, ShadowPair, ShadowRecord,
    ShadowRequest,
};
pub use share::{Share, ShareRequest, SharedImage};
pub use sheet::{
    SheetAxis, SheetCell, SheetCellState, SheetDetail, SheetRecord, SheetRequest, SheetSetting, SheetState,
};
pub use template::{Prompts, Template, Wildcards};
pub use text::{capitalised, is_hash, sentence, size};
pub use training_config::{Crop, LearningRateSchedule, Preset, Targets, TrainingConfig};
pub use training_run::{
    RESERVED_NAME, TrainingChange, TrainingEvent, TrainingForecast, TrainingPhase, TrainingPoint,
    TrainingRequest, TrainingRun, TrainingRunDetail, TrainingSample, TrainingSettings, TrainingState,
};
pub use verdict::{
    Bounds, EvaluationCriterion, EvaluationRole, EvaluationVerdict, FailedImage, MetricDirection, MetricInfo,
    PromptMeans, Suspect,
};
pub use visible::visible;
