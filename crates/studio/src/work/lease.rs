//! Holding jobs: what their runs must know between two units, and the task that renews the leases. It also notices what
//! other nodes do: leases that have ended, jobs that wait or are asked to stop.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    model::{Asked, Lease, WriteError},
    restore,
};
use crate::{shared::Shared, store::Release};

/// Time between two renewals. A lease lasts three of them.
const BEAT: Duration = Duration::from_secs(5);

/// Why a run must stop before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Somebody asked for it; the row says so.
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

impl From<crate::StudioError> for Stop {
    fn from(error: crate::StudioError) -> Self {
        match error {
            crate::StudioError::ShuttingDown => Self::Closing,
            other => Self::Failed(other.to_string()),
        }
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

/// Renews every lease of this node and looks at what others do, until the studio closes.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let mut clock = tokio::time::interval(BEAT);
    // The first tick is at once.
    clock.tick().await;
    loop {
        clock.tick().await;
        for hold in shared.work.held() {
            match shared.store.beat(&hold.lease).await {
                Ok(Some(asked)) => hold.stop(Stop::Asked(asked)),
                Ok(None) => {}
                Err(WriteError::LeaseLost) if shared.work.holds(&hold) => {
                    tracing::warn!(job = hold.lease.job, "another node has taken this job");
                    hold.stop(Stop::LeaseLost);
                }
                Err(WriteError::LeaseLost) => {}
                // The next beat may come through; if none does, another node takes the job.
                Err(WriteError::Studio(error)) => {
                    tracing::warn!(job = hold.lease.job, %error, "a lease was not renewed");
                }
            }
        }
        match shared.store.release(Release::Ended).await {
            Ok(released) => {
                for released in released {
                    tracing::warn!(job = released.id, state = released.state.name(), "its lease had ended");
                }
            }
            Err(error) => tracing::warn!(%error, "ended leases were not looked for"),
        }
        if let Err(error) = restore::refresh(&shared).await {
            tracing::warn!(%error, "the queue was not read");
        }
        shared.work.training_waits();
    }
}
