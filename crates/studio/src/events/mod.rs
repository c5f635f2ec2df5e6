//! Following a job of any kind, on one path. What lasts are rows with numbers; a stream reads those above the last one it gave
//! whenever something has happened; the newest rows of a generation are here as well. What passes (progress, positions) is
//! only here, one value for each job, and supersedes itself: a slow or vanished reader costs nothing and delays nobody, and
//! a late one sees what still matters.
//!
//! Numbers grow along a job. Each lease has a million of its own, so that after a crash none is given twice, stored or not.

mod generation;
mod record;
mod training;

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use adire_protocol::{EvaluationRecord, Event, PushRecord, TrainingEvent, TrainingRun};
use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use tokio::sync::watch;

use crate::{EventStream, StudioError, evaluations, job::JobKind, push_queue, queue::Live, shared::Shared};

/// Something that happened to a job.
#[derive(Clone, Debug)]
pub struct JobEvent {
    /// Its number. They grow along the job.
    pub id: u64,
    /// What happened.
    pub update: JobUpdate,
}

/// What happened to a job, as its kind tells it.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum JobUpdate {
    /// Of a generation.
    Generation(Event),
    /// Of a training run.
    Training(TrainingEvent),
    /// How an evaluation stands now.
    Evaluation(Box<EvaluationRecord>),
    /// How a push stands now.
    Push(Box<PushRecord>),
}

impl JobUpdate {
    /// The name used as the SSE event type.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Generation(event) => event.event.name(),
            Self::Training(event) => event.change.name(),
            Self::Evaluation(_) => "evaluation",
            Self::Push(_) => "push",
        }
    }
}

/// The events of one job; ends when it has ended.
pub type JobEventStream = Pin<Box<dyn Stream<Item = JobEvent> + Send + 'static>>;

/// Whose events are followed. Where a record is sent whole: with the one that was sent last.
enum Followed {
    Generation,
    Training(Option<Box<TrainingRun>>),
    Evaluation(Option<Box<EvaluationRecord>>),
    Push(Option<Box<PushRecord>>),
}

impl From<JobKind> for Followed {
    fn from(kind: JobKind) -> Self {
        match kind {
            JobKind::Generation => Self::Generation,
            JobKind::Training => Self::Training(None),
            JobKind::Evaluation => Self::Evaluation(None),
            JobKind::Push => Self::Push(None),
        }
    }
}

struct Follower {
    shared: Arc<Shared>,
    id: String,
    what: Followed,
    /// Number of the last event that was given.
    cursor: u64,
    live: watch::Receiver<Live>,
    ready: VecDeque<JobEvent>,
    ended: bool,
}

/// Events of a job of that kind, or of any, with a number above `after`, then what happens; ends with it, or when the studio
/// closes. `None`: it has ended, and there are no more.
pub(crate) async fn follow(
    shared: Arc<Shared>,
    id: &str,
    kind: Option<JobKind>,
    after: u64,
) -> Result<Option<JobEventStream>, StudioError> {
    let known = shared.store.kind_and_state(id).await?.filter(|(found, _)| kind.is_none_or(|k| k == *found));
    let what = kind.map_or("job", JobKind::in_words);
    let (found, state) = known.ok_or_else(|| StudioError::not_found(what, id))?;
    let mut events = Box::pin(events_of(shared, id, found, after)?.peekable());
    // All events of a job that has ended are there already, so this does not wait.
    if state.has_ended() && events.as_mut().peek().await.is_none() {
        return Ok(None);
    }
    Ok(Some(events))
}

/// Events of a generation that there is.
pub(crate) fn follow_generation(
    shared: Arc<Shared>,
    id: &str,
    after: u64,
) -> Result<EventStream, StudioError> {
    let events = events_of(shared, id, JobKind::Generation, after)?;
    Ok(Box::pin(events.filter_map(async |event| match event.update {
        JobUpdate::Generation(event) => Some(event),
        _ => None,
    })))
}

fn events_of(
    shared: Arc<Shared>,
    id: &str,
    kind: JobKind,
    after: u64,
) -> Result<impl Stream<Item = JobEvent> + Send + 'static, StudioError> {
    let live = shared.work.subscribe(id)?;
    let (id, ready) = (id.to_owned(), VecDeque::new());
    let follower = Follower { shared, id, what: kind.into(), cursor: after, live, ready, ended: false };
    Ok(stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((event, follower))
    }))
}

impl Follower {
    async fn next(&mut self) -> Option<JobEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.cursor = event.id;
                return Some(event);
            }
            if self.ended {
                return None;
            }
            // Before the rows: what is stored after this look is a change to be noticed.
            let live = self.live.borrow_and_update().clone();
            match self.look(live).await {
                Ok(()) => {}
                Err(StudioError::ShuttingDown) => return None,
                Err(error) => {
                    tracing::warn!(job = self.id, %error, "a stream ends early");
                    return None;
                }
            }
            if self.ready.is_empty() && !self.ended {
                self.live.changed().await.ok()?;
            }
        }
    }

    async fn look(&mut self, live: Live) -> Result<(), StudioError> {
        let (shared, id, cursor) = (&*self.shared, self.id.as_str(), self.cursor);
        match &mut self.what {
            Followed::Generation => {
                let (events, ended) = generation::news(shared, id, cursor, live).await?;
                self.ended = ended;
                let event = |event: Event| JobEvent { id: event.id, update: JobUpdate::Generation(event) };
                self.ready.extend(events.into_iter().map(event));
            }
            Followed::Training(last_sent) => {
                let (events, ended) = training::news(shared, id, cursor, last_sent).await?;
                self.ended = ended;
                let event =
                    |event: TrainingEvent| JobEvent { id: event.id, update: JobUpdate::Training(event) };
                self.ready.extend(events.into_iter().map(event));
            }
            Followed::Evaluation(last_sent) => {
                let (number, record) =
                    record::at_one_number(shared, id, || evaluations::record(shared, id)).await?;
                // One that was cancelled and still runs has an end to come.
                self.ended = record.state.is_final() && record.finished_at.is_some();
                let change = |record| JobUpdate::Evaluation(Box::new(record));
                self.ready.extend(record::news((number, record), cursor, last_sent, change));
            }
            Followed::Push(last_sent) => {
                let (number, record) =
                    record::at_one_number(shared, id, || push_queue::record(shared, id)).await?;
                self.ended = record.state.is_final();
                let change = |record| JobUpdate::Push(Box::new(record));
                self.ready.extend(record::news((number, record), cursor, last_sent, change));
            }
        }
        Ok(())
    }
}
