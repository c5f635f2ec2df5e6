//! Pushes: jobs that the device has nothing to do with. Whoever uploads claims them, one at a time, and reports; the server
//! does, because the studio knows no HTTP. A unit is what it does between two reports.

use std::sync::{Arc, atomic::AtomicBool};

use adire_protocol::{PushRecord, QueuedKind};
use futures::future::{BoxFuture, ready};

use super::{
    claim::{self, Claimer},
    kind::{Entry, Kind, Progressed, Wait, behind},
    rest::rest,
};
use crate::{
    StudioError,
    job::{JobKind, WriteError},
    queue::{Hold, Stop},
    shared::Shared,
    store::{About, OpenJob},
};

/// See the module documentation.
pub(super) struct Pushes;

impl Kind for Pushes {
    fn kind(&self) -> JobKind {
        JobKind::Push
    }

    fn about(&self) -> About {
        About::PUSH
    }

    fn entry(&self, job: &OpenJob) -> Result<Entry, StudioError> {
        let title = job.about.clone();
        let page = format!("/admin/versions/{}", title.split(' ').next().unwrap_or_default());
        Ok(Entry { kind: QueuedKind::Push, title, detail: "push to the Hub".to_owned(), page })
    }

    fn wait<'a>(
        &'a self,
        _shared: &'a Shared,
        _job: &'a OpenJob,
        before: &'a [OpenJob],
    ) -> BoxFuture<'a, Result<Wait, StudioError>> {
        // How long one takes depends on the network.
        let why = if before.is_empty() { behind(before) } else { behind(before) + "; one push at a time" };
        Box::pin(ready(Ok(Wait { why, ms: None })))
    }
}

/// A push that this process runs.
#[derive(Clone, Debug)]
pub struct PushTask {
    /// The push.
    pub record: PushRecord,
    /// Set once it must stop.
    pub stop: Arc<AtomicBool>,
    hold: Arc<Hold>,
}

impl PushTask {
    /// Waits until it must stop.
    pub async fn until_stopped(&self) {
        self.hold.until_stopped().await;
    }
}

/// Waits for the next push and claims it.
pub(crate) async fn next_push(shared: &Shared) -> Result<PushTask, StudioError> {
    let mut claimer = Claimer::new(&shared.work.node, JobKind::Push, &shared.model.hash);
    loop {
        if shared.work.is_closing() {
            return Err(StudioError::ShuttingDown);
        }
        let Some((_, hold)) = claim::next(shared, &Pushes, &mut claimer, None).await? else {
            shared.work.changed_off_device().await;
            continue;
        };
        match shared.store.push(&hold.lease.job).await {
            Ok(Some(record)) => return Ok(PushTask { record, stop: hold.stop.clone(), hold }),
            Ok(None) => {
                let missing = StudioError::not_found("push", &hold.lease.job);
                rest(shared, &hold, &Pushes, Err(missing.into()), None).await;
            }
            Err(error) => rest(shared, &hold, &Pushes, Err(error.into()), None).await,
        }
    }
}

/// Notes what a push is doing.
pub(crate) async fn report_push(shared: &Shared, task: &PushTask, progress: &str) -> Result<(), StudioError> {
    match shared.store.note_push(&task.hold.lease, progress).await {
        Ok(()) => {
            shared.work.notify(&task.hold.lease.job);
            Ok(())
        }
        Err(WriteError::LeaseLost) => {
            task.hold.stop(Stop::LeaseLost);
            Ok(())
        }
        Err(WriteError::Studio(error)) => Err(error),
    }
}

/// A push has ended: with the repository's address and the commit, or with a sentence. One that was asked to stop is
/// cancelled, or waits for the next start.
pub(crate) async fn end_push(shared: &Shared, task: &PushTask, result: Result<(&str, Option<&str>), &str>) {
    let hold = &task.hold;
    let result = match result {
        Ok((url, commit)) => match shared.store.note_pushed(&hold.lease, url, commit).await {
            Ok(()) | Err(WriteError::LeaseLost) => Ok(Progressed::Done),
            Err(WriteError::Studio(error)) => Err(error.into()),
        },
        Err(message) => Err(hold.stopped().unwrap_or_else(|| Stop::Failed(message.to_owned()))),
    };
    rest(shared, hold, &Pushes, result, None).await;
}
