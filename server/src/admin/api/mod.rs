//! Admin API: datasets, training runs, evaluations, the queue, images and the registry. One file per subject. Authorisation
//! happens before any of this is reached, for everything under `/admin`.

pub(crate) mod adapters;
pub(crate) mod alerts;
pub(crate) mod comparisons;
pub(crate) mod control;
pub(crate) mod datasets;
pub(crate) mod embeddings;
pub(crate) mod evaluations;
pub(crate) mod files;
pub(crate) mod flags;
pub(crate) mod follow;
pub(crate) mod imported;
pub(crate) mod jobs;
pub(crate) mod lineage;
pub(crate) mod monitoring;
pub(crate) mod pushes;
pub(crate) mod registry;
pub(crate) mod shadows;
pub(crate) mod sheets;
pub(crate) mod training;
