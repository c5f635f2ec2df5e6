//! What a job is, whatever its kind, and which one is next. Knows no database and no tasks.

mod pick;

pub(crate) use pick::{Candidate, PATIENCE, pick, reorder};

use crate::StudioError;

/// How many numbers of events each lease has. Those that are not stored (progress, positions) use them too; no lease
/// has nearly so many.
pub(crate) const NUMBERS_PER_LEASE: i64 = 1_000_000;

/// A job that was claimed this often without gaining anything is not tried again: it may be why the server crashed.
pub(crate) const MAX_ATTEMPTS: i64 = 3;

/// Whether that many attempts, the present one included, are too many.
pub(crate) fn given_up(attempts: i64) -> bool {
    attempts > MAX_ATTEMPTS
}

/// The kinds of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum JobKind {
    Generation,
    Evaluation,
    Training,
    Push,
}

impl JobKind {
    /// In the order in which they use the device: an evaluation lasts minutes, a training run hours. The last one does not.
    pub(crate) const ALL: [Self; 4] = [Self::Generation, Self::Evaluation, Self::Training, Self::Push];

    /// As rows have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Generation => "generation",
            Self::Training => "training",
            Self::Evaluation => "evaluation",
            Self::Push => "push",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// As people read it.
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::Generation => "generation",
            Self::Training => "training run",
            Self::Evaluation => "evaluation",
            Self::Push => "push",
        }
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum JobState {
    Queued,
    Running,
    Paused,
    Done,
    Failed,
    Cancelled,
}

impl JobState {
    const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Paused, Self::Done, Self::Failed, Self::Cancelled];

    /// As rows have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether nothing happens to it any more, unless it is resumed.
    pub(crate) fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// What the holder of a job is asked to do between two units; kept, so that it holds over a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Pause,
    Cancel,
}

impl Asked {
    /// As rows have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Cancel => "cancel",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        [Self::Pause, Self::Cancel].into_iter().find(|asked| asked.name() == name)
    }
}

/// A job to be written, beside the row of what it is about.
#[derive(Clone, Debug)]
pub(crate) struct NewJob {
    /// A UUID v7.
    pub(crate) id: String,
    pub(crate) kind: JobKind,
    /// Who takes turns.
    pub(crate) owner: String,
    /// Expected milliseconds of work.
    pub(crate) cost: i64,
    /// Fingerprint of the adapters that it needs.
    pub(crate) wants: String,
    /// Hash of the model that it is for.
    pub(crate) model: String,
    pub(crate) created_at: i64,
}

/// Its place in the queue, and the number of its first event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queued {
    pub(crate) turn: i64,
    pub(crate) event: u64,
}

/// The right to write about a job, until somebody else has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) job: String,
    pub(crate) number: i64,
}

/// A job that has just been claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub(crate) lease: Lease,
    pub(crate) turn: i64,
    pub(crate) cost: i64,
    pub(crate) wants: String,
    /// This one included.
    pub(crate) attempts: i64,
}

impl Claimed {
    /// The number of its `started` event.
    pub(crate) fn event(&self) -> u64 {
        (self.lease.number * NUMBERS_PER_LEASE).cast_unsigned()
    }
}

/// Who ends a job.
#[derive(Clone, Copy, Debug)]
pub(crate) enum EndedBy<'a> {
    /// Its holder; the event's number is at least this.
    Holder(&'a Lease, u64),
    /// Anybody, while nobody holds it, in one of these states.
    NotHeld { id: &'a str, from: &'a [JobState] },
}

/// How a job ends, or is put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome<'a> {
    Done {
        /// `name@vN` that a training has made.
        version: Option<&'a str>,
    },
    Failed(&'a str),
    Cancelled {
        /// Why, unless a person requested it.
        why: Option<&'a str>,
    },
    Paused,
}

impl Outcome<'_> {
    /// The state that the job is in then, which is also the name of the event.
    pub(crate) fn state(self) -> JobState {
        match self {
            Self::Done { .. } => JobState::Done,
            Self::Failed(_) => JobState::Failed,
            Self::Cancelled { .. } => JobState::Cancelled,
            Self::Paused => JobState::Paused,
        }
    }
}

/// Why a holder's write was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// Somebody else has the job, or it has ended: nothing was changed.
    #[error("the lease was lost")]
    LeaseLost,
    #[error(transparent)]
    Studio(#[from] StudioError),
}
