//! What the monitoring page and `/metrics` show: figures of generations, per version and over time.

use serde::{Deserialize, Serialize};

use crate::QueueStatus;

/// How far back figures go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Period {
    /// The last 24 hours.
    #[default]
    #[serde(rename = "24h")]
    Day,
    /// The last 7 days.
    #[serde(rename = "7d")]
    Week,
    /// The last 30 days.
    #[serde(rename = "30d")]
    Month,
    /// Everything that is kept.
    #[serde(rename = "all")]
    All,
}

impl Period {
    /// Every one, the shortest first.
    pub const ALL: [Self; 4] = [Self::Day, Self::Week, Self::Month, Self::All];

    /// As addresses have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
            Self::All => "all",
        }
    }

    /// The one of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|period| period.name() == name)
    }

    /// Its length in milliseconds; `None`: no bound.
    pub fn ms(self) -> Option<i64> {
        const HOUR: i64 = 3_600_000;
        match self {
            Self::Day => Some(24 * HOUR),
            Self::Week => Some(7 * 24 * HOUR),
            Self::Month => Some(30 * 24 * HOUR),
            Self::All => None,
        }
    }
}

/// Figures of a period.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Monitoring {
    /// The period.
    pub period: Period,
    /// Its beginning, in milliseconds since 1970 (UTC).
    pub since: i64,
    /// Its end.
    pub until: i64,
    /// Only generations with these adapter versions are counted, but in `versions`.
    pub version: Option<String>,
    /// All generations.
    pub total: Figures,
    /// Those of each version, most generations first. Several adapters together are an entry of their own.
    pub versions: Vec<Figures>,
    /// Why generations failed, most frequent first.
    pub causes: Vec<CauseCount>,
    /// Length of a point of `series`, in milliseconds.
    pub step_ms: i64,
    /// Figures over time, without gaps.
    pub series: Vec<SeriesPoint>,
    /// The most frequent prompts. Deleted generations do not count.
    pub prompts: Vec<PromptCount>,
    /// Ratings that visitors gave in the period, by version. Deleted images are left out.
    pub ratings: Vec<RatingCount>,
    /// How long the server has been up.
    pub uptime: Uptime,
    /// Memory now.
    pub memory: Memory,
    /// The queue now.
    pub queue: QueueStatus,
    /// How the tracking server stands, where there is one.
    pub tracking: Option<Tracking>,
}

/// Figures of generations that ended in the period.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Figures {
    /// `name@vN`, several joined with ` + `; empty without adapters, and in the total.
    pub version: String,
    /// Generations that ended.
    pub generations: u64,
    /// Those that finished.
    pub done: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were cancelled.
    pub cancelled: u64,
    /// Images made.
    pub images: u64,
    /// Images that other adapters had to be put into effect for.
    pub switches: u64,
    /// Seconds of the device.
    pub render_seconds: f64,
    /// Seconds from start to end of finished generations.
    pub seconds: Option<Percentiles>,
    /// Seconds from submission to start.
    pub wait: Option<Percentiles>,
}

/// Percentiles by nearest rank, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Percentiles {
    /// Values.
    pub count: u64,
    /// The median.
    pub p50: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CauseCount {
    /// `out_of_memory`, `crash`, `adapter`, `storage`, `worker`, `numbers` or `other`.
    pub cause: String,
    /// How many.
    pub count: u64,
}

/// Figures of one stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SeriesPoint {
    /// Its beginning, in milliseconds since 1970 (UTC).
    pub at: i64,
    /// Generations that finished.
    pub done: u64,
    /// Generations that failed.
    pub failed: u64,
    /// Generations that were cancelled.
    pub cancelled: u64,
    /// Images made.
    pub images: u64,
    /// 95th percentile of the seconds from start to end.
    pub p95: Option<f64>,
    /// 95th percentile of the seconds from submission to start.
    pub wait_p95: Option<f64>,
}

/// A prompt and how often it was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PromptCount {
    /// As in its newest generation. Letter case and spaces do not distinguish prompts.
    pub prompt: String,
    /// Generations.
    pub count: u64,
}

/// How many images of a version have a rating.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RatingCount {
    /// As in [`Figures::version`].
    pub version: String,
    /// `up`, `down` or `star`.
    pub rating: String,
    /// Images.
    pub count: u64,
}

/// How long the server has been up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Uptime {
    /// When it started, in milliseconds since 1970 (UTC).
    pub started_at: i64,
    /// Share of the period that a server was up, from the first recorded start on; 0 to 1.
    pub share: f64,
    /// Starts in the period.
    pub starts: u32,
}

/// How a tracking server, such as MLflow, stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Tracking {
    /// Its address.
    pub server: String,
    /// Why not everything has been sent; absent: it has.
    pub problem: Option<String>,
}

/// Memory in bytes; absent where the system does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Memory {
    /// Resident memory of this process.
    pub process: Option<u64>,
    /// Memory of the machine.
    pub host_total: Option<u64>,
    /// What programs could still get of it.
    pub host_available: Option<u64>,
    /// Memory of the GPU.
    pub device_total: Option<u64>,
    /// What is free of it.
    pub device_free: Option<u64>,
}
