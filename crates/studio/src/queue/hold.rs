//! What the run of a job must know between two units: its lease, and whether it must stop.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::watch;

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

/// A job that this node holds.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) lease: Lease,
    /// Read by the worker thread after each step.
    pub(crate) stop: Arc<AtomicBool>,
    why: watch::Sender<Option<Stop>>,
}

impl Hold {
    pub(crate) fn new(lease: Lease) -> Self {
        Self { lease, stop: Arc::default(), why: watch::Sender::new(None) }
    }

    /// Why the run must stop, if it must.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        self.why.borrow().clone()
    }

    /// Waits until the run must stop.
    pub(crate) async fn until_stopped(&self) {
        // Never an error: the sender is here.
        let _ = self.why.subscribe().wait_for(Option::is_some).await;
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
        self.why.send_modify(|known| {
            self.stop.store(why.is_some(), Ordering::Relaxed);
            *known = why;
        });
    }
}
