//! What the run of a job must know between two units: its lease, and whether it must stop.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    BackendError, StudioError,
    job::{Asked, Lease, WriteError},
};

/// Why a run must stop before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Requested; the row says so.
    Asked(Asked),
    /// The studio closes.
    Closing,
    /// Another node has the job.
    LeaseLost,
    /// It cannot go on; a sentence to show.
    Failed(String),
}

impl From<WriteError> for Stop {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::LeaseLost => Self::LeaseLost,
            WriteError::Studio(error) => error.into(),
        }
    }
}

impl From<StudioError> for Stop {
    fn from(error: StudioError) -> Self {
        match error {
            StudioError::ShuttingDown => Self::Closing,
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<BackendError> for Stop {
    fn from(error: BackendError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A job that this node holds. The mutex is held for moments only.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) lease: Lease,
    /// Read by the worker thread after each step.
    pub(crate) stop: Arc<AtomicBool>,
    why: Mutex<Option<Stop>>,
}

impl Hold {
    pub(crate) fn new(lease: Lease) -> Self {
        Self { lease, stop: Arc::default(), why: Mutex::default() }
    }

    /// Why the run must stop, if it must.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has the run stop within one step.
    pub(crate) fn stop(&self, why: Stop) {
        self.set(Some(why));
    }

    /// Lets a run go on that was asked to pause and has not stopped yet.
    pub(crate) fn go_on(&self) {
        self.set(None);
    }

    fn set(&self, why: Option<Stop>) {
        let mut known = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        self.stop.store(why.is_some(), Ordering::Relaxed);
        *known = why;
    }
}
