//! Following a job. What lasts are rows with numbers; a stream reads those above the last one it gave whenever something
//! has happened; the newest rows of a job are here as well. What passes (progress, positions) is only here, one value for each job, and supersedes itself: a slow or
//! vanished reader costs nothing and delays nobody, and a late one sees what still matters.
//!
//! Numbers grow along a job. Each lease has a million of its own, so that after a crash none is given twice, stored or not.

mod generation;
mod training;

use std::{collections::VecDeque, sync::Arc};

use adire_protocol::{Event, TrainingEvent, TrainingRun};
use futures::{Stream, StreamExt, stream};
use tokio::sync::watch;

use crate::{EventStream, StudioError, TrainingStream, queue::Live, shared::Shared};

/// What happened to a job, as its kind tells it.
#[derive(Clone, Debug)]
enum JobEvent {
    Generation(Event),
    Training(TrainingEvent),
}

impl JobEvent {
    fn number(&self) -> u64 {
        match self {
            Self::Generation(event) => event.id,
            Self::Training(event) => event.id,
        }
    }
}

/// Whose events are followed.
enum Followed {
    Generation,
    /// With the record that was sent last.
    Training(Option<Box<TrainingRun>>),
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

/// Events of a generation above `after`, then what happens; ends with it, or when the studio closes.
pub(crate) fn follow_generation(
    shared: Arc<Shared>,
    id: &str,
    after: u64,
) -> Result<EventStream, StudioError> {
    let events = follow(shared, id, Followed::Generation, after)?;
    Ok(Box::pin(events.filter_map(async |event| match event {
        JobEvent::Generation(event) => Some(event),
        JobEvent::Training(_) => None,
    })))
}

/// How a training run stands, then its points and samples above `after`, then what happens; ends like the other one.
pub(crate) fn follow_training(
    shared: Arc<Shared>,
    id: &str,
    after: u64,
) -> Result<TrainingStream, StudioError> {
    let events = follow(shared, id, Followed::Training(None), after)?;
    Ok(Box::pin(events.filter_map(async |event| match event {
        JobEvent::Training(event) => Some(event),
        JobEvent::Generation(_) => None,
    })))
}

fn follow(
    shared: Arc<Shared>,
    id: &str,
    what: Followed,
    after: u64,
) -> Result<impl Stream<Item = JobEvent> + Send + 'static, StudioError> {
    let live = shared.work.subscribe(id)?;
    let (id, ready) = (id.to_owned(), VecDeque::new());
    let follower = Follower { shared, id, what, cursor: after, live, ready, ended: false };
    Ok(stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((event, follower))
    }))
}

impl Follower {
    async fn next(&mut self) -> Option<JobEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.cursor = event.number();
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
        match &mut self.what {
            Followed::Generation => {
                let (events, ended) = generation::news(&self.shared, &self.id, self.cursor, live).await?;
                self.ended = ended;
                self.ready.extend(events.into_iter().map(JobEvent::Generation));
            }
            Followed::Training(last_sent) => {
                let (events, ended) = training::news(&self.shared, &self.id, self.cursor, last_sent).await?;
                self.ended = ended;
                self.ready.extend(events.into_iter().map(JobEvent::Training));
            }
        }
        Ok(())
    }
}
