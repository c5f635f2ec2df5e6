//! Following a training. Points and samples are rows with growing numbers, so a stream needs no log: whenever something
//! has changed it reads what is new since the last number it gave.

use std::{collections::VecDeque, sync::Arc};

use adire_protocol::{TrainingChange, TrainingEvent, TrainingRun, TrainingState};
use futures::stream;
use tokio::sync::watch;

use super::views;
use crate::{StudioError, TrainingStream, shared::Shared};

struct Follower {
    shared: Arc<Shared>,
    id: String,
    /// Number of the last point or sample that was given.
    cursor: i64,
    changes: watch::Receiver<u64>,
    ready: VecDeque<TrainingEvent>,
    /// The last record sent.
    last_sent: Option<TrainingRun>,
    ended: bool,
}

/// How the job stands, then every point and sample with a number above `after`, then what happens; ends with the job,
/// or when the studio closes.
pub(crate) async fn follow(shared: Arc<Shared>, id: &str, after: u64) -> Result<TrainingStream, StudioError> {
    // So that a wrong id is an error and no empty stream.
    let id = views::job(&shared, id).await?.id;
    let changes = shared.training.changes.subscribe();
    let cursor = i64::try_from(after).unwrap_or(i64::MAX);
    let follower =
        Follower { shared, id, cursor, changes, ready: VecDeque::new(), last_sent: None, ended: false };
    Ok(Box::pin(stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((event, follower))
    })))
}

impl Follower {
    async fn next(&mut self) -> Option<TrainingEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.ended || self.shared.queue.is_closing() {
                return None;
            }
            self.changes.borrow_and_update();
            if let Err(error) = self.look().await {
                tracing::warn!(training = self.id, %error, "a stream ends early");
                return None;
            }
            if self.ready.is_empty() && !self.ended {
                self.changes.changed().await.ok()?;
            }
        }
    }

    async fn look(&mut self) -> Result<(), StudioError> {
        // The job first: once it has ended, the points that follow are all there are.
        let job = views::job(&self.shared, &self.id).await?;
        use TrainingState::{Cancelled, Done, Failed};
        self.ended = matches!(job.state, Done | Cancelled | Failed);
        let mut new = Vec::new();
        for (number, point) in self.shared.store.points(&self.id, self.cursor).await? {
            new.push((number, TrainingChange::Point { point }));
        }
        for (number, sample) in self.shared.store.samples(&self.id, self.cursor).await? {
            new.push((number, TrainingChange::Sample { sample }));
        }
        new.sort_by_key(|(number, _)| *number);
        if self.last_sent.as_ref() != Some(&job) {
            self.last_sent = Some(job.clone());
            let id = self.cursor.cast_unsigned();
            self.ready.push_back(TrainingEvent { id, change: TrainingChange::Job { job: Box::new(job) } });
        }
        for (number, change) in new {
            self.cursor = number;
            self.ready.push_back(TrainingEvent { id: number.cast_unsigned(), change });
        }
        Ok(())
    }
}
