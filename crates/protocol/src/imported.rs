//! Runs that were taken over from an MLflow server.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A run of another tracking server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImportedRun {
    /// The id that it has there.
    pub id: String,
    /// Address of the server, without name and password.
    pub source: String,
    /// Name of its experiment.
    pub experiment: String,
    /// Its name; may be empty.
    pub name: String,
    /// `RUNNING`, `SCHEDULED`, `FINISHED`, `FAILED` or `KILLED`.
    pub status: String,
    /// In milliseconds since 1970 (UTC).
    pub started_at: i64,
    /// Absent until it ends.
    pub finished_at: Option<i64>,
    /// Params, by name.
    pub params: BTreeMap<String, String>,
    /// Tags, by name.
    pub tags: BTreeMap<String, String>,
}

/// A value of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MetricPoint {
    /// The step.
    pub step: i64,
    /// In milliseconds since 1970 (UTC).
    pub at: i64,
    /// Finite.
    pub value: f64,
}

/// A run with its metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImportedRunDetail {
    /// The run.
    pub run: ImportedRun,
    /// Points of each metric in the order of their steps.
    pub metrics: BTreeMap<String, Vec<MetricPoint>>,
    /// Adapter versions that were registered with it, `name@vN`.
    pub versions: Vec<String>,
}
