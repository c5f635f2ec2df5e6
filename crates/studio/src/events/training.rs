//! The events of a training run.

use std::collections::VecDeque;

use adire_protocol::{TrainingChange, TrainingEvent, TrainingRun, TrainingState};

use crate::{StudioError, shared::Shared, training};

/// What is new about a run since `cursor`: its record, where it is not `last_sent`, then points and samples; and whether
/// it has ended.
pub(super) async fn news(
    shared: &Shared,
    id: &str,
    cursor: u64,
    last_sent: &mut Option<Box<TrainingRun>>,
) -> Result<(VecDeque<TrainingEvent>, bool), StudioError> {
    use TrainingState::{Cancelled, Done, Failed};
    // The record first: once it has ended, the points that follow are all there are.
    let job = training::job(shared, id).await?;
    let ended = matches!(job.state, Done | Cancelled | Failed);
    let mut events = VecDeque::new();
    let after = i64::try_from(cursor).unwrap_or(i64::MAX);
    for (number, point) in shared.store.points(id, after).await? {
        events
            .push_back(TrainingEvent { id: number.cast_unsigned(), change: TrainingChange::Point { point } });
    }
    for (number, sample) in shared.store.samples(id, after).await? {
        let change = TrainingChange::Sample { sample };
        events.push_back(TrainingEvent { id: number.cast_unsigned(), change });
    }
    events.make_contiguous().sort_by_key(|event| event.id);
    if last_sent.as_deref() != Some(&job) {
        *last_sent = Some(Box::new(job.clone()));
        events.push_front(TrainingEvent { id: cursor, change: TrainingChange::Job { run: Box::new(job) } });
    }
    Ok((events, ended))
}
