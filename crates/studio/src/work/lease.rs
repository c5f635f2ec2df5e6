//! The task that renews the leases of the jobs that this node holds. It also notices what other nodes do: leases that have
//! ended, jobs that wait or are asked to stop. It keeps what images cost for the next start, too.

use std::{sync::Arc, time::Duration};

use super::restore::refresh;
use crate::{
    job::{JobKind, WriteError},
    queue::Stop,
    shared::Shared,
    store::Release,
};

/// Time between two renewals. A lease lasts three of them.
const BEAT: Duration = Duration::from_secs(5);

/// Renews every lease of this node and looks at what others do, until the studio closes.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let mut clock = tokio::time::interval(BEAT);
    // The first tick is at once.
    clock.tick().await;
    let mut kept = None;
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
        if let Err(error) = refresh(&shared).await {
            tracing::warn!(%error, "the queue was not read");
        }
        // Here, because an image's answer would wait for the processors that it takes.
        let cost = shared.work.cost();
        if cost != kept {
            shared.remember_cost().await;
            kept = cost;
        }
        JobKind::ALL.into_iter().for_each(|kind| shared.work.waits(kind));
        shared.work.shadow_waits();
    }
}
