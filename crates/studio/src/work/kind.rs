//! What a kind of job is: all that jobs of different kinds do not share. `kinds` lists them.

use std::{any::Any, sync::Arc};

use adire_protocol::{QueuedKind, WaitReason};
use futures::future::{BoxFuture, ready};

use crate::{
    StudioError,
    job::{Claimed, JobKind, JobState},
    queue::{Hold, Stop, Work},
    shared::Shared,
    store::{About, OpenJob},
};

/// A kind of job.
pub(crate) trait Kind: Send + Sync {
    fn kind(&self) -> JobKind;

    /// Where its rows say what a job is about.
    fn about(&self) -> About;

    /// A job as the admin's list shows it.
    fn entry(&self, job: &OpenJob) -> Result<Entry, StudioError>;

    /// What a job waits for. `before`: those of its kind that run or go before it.
    fn wait<'a>(
        &'a self,
        shared: &'a Shared,
        job: &'a OpenJob,
        before: &'a [OpenJob],
    ) -> BoxFuture<'a, Result<Wait, StudioError>>;

    /// What may help where the server crashed again and again during a job.
    fn advice(&self) -> &'static str {
        ""
    }

    /// Why a job failed, as its owner may read it.
    fn shown(&self, message: &str) -> String {
        message.to_owned()
    }

    /// In which states a job that nobody holds can be cancelled.
    fn cancelled_from(&self) -> &'static [JobState] {
        &[JobState::Queued]
    }

    /// A job has come to rest, in that state where it is known: it has ended, was put aside, or is somebody else's.
    fn rested<'a>(&'a self, shared: &'a Shared, _id: &'a str, _state: Option<JobState>) -> BoxFuture<'a, ()> {
        shared.work.waits(self.kind());
        Box::pin(ready(()))
    }

    /// How it uses the device; `None`: it does not, and the process that claims it runs it.
    fn on_device(&'static self) -> Option<&'static dyn OnDevice> {
        None
    }
}

/// A kind of job whose units the device does, one at a time, in the scheduler's order.
pub(crate) trait OnDevice: Kind {
    /// Takes on a job that has been claimed.
    fn begin<'a>(
        &'a self,
        shared: &'a Arc<Shared>,
        claimed: Claimed,
        hold: Arc<Hold>,
    ) -> BoxFuture<'a, Result<Box<dyn Run>, Stop>>;

    /// What a generation waits for while the device does a unit of it.
    fn unit_reason(&self) -> Option<WaitReason>;

    /// Whether one may wait that should be taken on. `due`: when the next unit of those under way is.
    fn may_wait(&self, work: &Work, due: Option<i64>) -> bool {
        due.is_none() && work.look_for(self.kind())
    }

    /// The one that waits, where that is known.
    fn only_waiting(&self, _work: &Work) -> Option<String> {
        None
    }

    /// Whether this node's copy of the queue has those that wait.
    fn is_copied(&self) -> bool {
        false
    }

    /// Whether its next unit may be done now. `last`: what the last unit was of.
    fn turn(&self, _shared: &Shared, _last: Option<JobKind>) -> Turn {
        Turn::InOrder
    }
}

/// A job that this node runs.
pub(crate) trait Run: Any + Send {
    fn hold(&self) -> &Arc<Hold>;

    /// Does its next unit.
    fn unit<'a>(&'a mut self, shared: &'a Arc<Shared>) -> BoxFuture<'a, Result<Progressed, Stop>>;

    /// When its next unit is due, among those of its kind.
    fn due(&self) -> i64 {
        0
    }

    /// It gives way to generations from now on, until its next unit.
    fn give_way(&mut self, _shared: &Shared) {}

    /// Writes what the next claim resumes from, before it stops early.
    fn save<'a>(&'a mut self, _shared: &'a Shared) -> BoxFuture<'a, Result<(), StudioError>> {
        Box::pin(ready(Ok(())))
    }

    /// Lets the device go.
    fn end(&mut self, _shared: &Shared) {}

    /// The adapter version (`name@vN`) that it has made, at its end.
    fn version(&self) -> Option<&str> {
        None
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progressed {
    More,
    Done,
    /// That it is done was written with the last unit; the number of that event.
    Written(Option<u64>),
}

/// Whether the next unit of a kind may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Before all others.
    First,
    /// In the order of kinds.
    InOrder,
    /// Generations go first, those included that are about to be written.
    NotNow,
}

/// A job as the admin's list shows it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: QueuedKind,
    pub(crate) title: String,
    /// Size of the work, in words.
    pub(crate) detail: String,
    /// Address of its page.
    pub(crate) page: String,
}

/// What a job waits for.
#[derive(Clone, Debug)]
pub(crate) struct Wait {
    /// In words.
    pub(crate) why: String,
    /// Expected milliseconds until it starts, where that is known.
    pub(crate) ms: Option<u64>,
}

/// What one waits for that has so many of its kind before it.
pub(super) fn behind(before: &[OpenJob]) -> String {
    match before.len() {
        0 => "next".to_owned(),
        1 => "behind 1 other".to_owned(),
        more => format!("behind {more} others"),
    }
}
