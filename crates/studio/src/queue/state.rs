//! The queue's state: positions, expected waits, and publishing them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use adire_protocol::{GenerationEvent, GenerationSpec, Progress};
use tokio::sync::watch;

use super::withdrawals::Withdrawals;
use crate::{client::Who, limits::cost, log::Log, timing::Timing};

/// A generation that is queued or running.
#[derive(Clone, Debug)]
pub(crate) struct QueuedGeneration {
    pub(crate) id: String,
    pub(crate) who: Who,
    pub(crate) created_at: i64,
    pub(crate) spec: GenerationSpec,
    /// Positions of images that an earlier run has finished.
    pub(crate) finished: Vec<u32>,
}

impl QueuedGeneration {
    /// Cost of its unfinished images, in megapixel-steps.
    pub(crate) fn cost(&self) -> f64 {
        cost(&self.spec, self.left())
    }

    pub(super) fn left(&self) -> u32 {
        self.spec.count.saturating_sub(u32::try_from(self.finished.len()).unwrap_or(u32::MAX))
    }
}

pub(super) struct Waiting {
    pub(super) generation: QueuedGeneration,
    /// The position last published.
    pub(super) published_position: Option<u32>,
}

pub(super) struct Running {
    pub(super) generation: QueuedGeneration,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) cancelled: bool,
    pub(super) progress: Option<Progress>,
    /// Time and value, in milliseconds, of the last estimate of the remaining time.
    pub(super) remaining: Option<(Instant, f64)>,
}

pub(super) struct State {
    pub(super) closing: bool,
    pub(super) capacity: u32,
    /// Places of requests whose rows are being written, with who asks and what they cost.
    pub(super) reserved: Vec<(Who, f64)>,
    /// By id: a UUID v7 grows with time, so the map's order is the queue's.
    pub(super) waiting: BTreeMap<String, Waiting>,
    pub(super) running: Option<Running>,
    pub(super) logs: HashMap<String, watch::Sender<Log>>,
    pub(super) timing: Timing,
    pub(super) withdrawals: Withdrawals,
}

/// What somebody has in the queue.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    /// Generations that wait.
    pub(super) waiting: u32,
    /// Megapixel-steps of those that wait or run.
    pub(super) cost: f64,
}

impl State {
    /// What those have in the queue for whom `counts` holds.
    pub(super) fn share(&self, counts: impl Fn(&Who) -> bool) -> Share {
        let waiting =
            self.waiting.values().map(|waiting| (&waiting.generation.who, waiting.generation.cost()));
        let reserved = self.reserved.iter().map(|(who, cost)| (who, *cost));
        let mut share = Share::default();
        for (_, cost) in waiting.chain(reserved).filter(|(who, _)| counts(who)) {
            share.waiting += 1;
            share.cost += cost;
        }
        let running = self.running.as_ref().filter(|running| counts(&running.generation.who));
        share.cost += running.map_or(0.0, |running| running.generation.cost());
        share
    }

    pub(super) fn len(&self) -> u32 {
        count(self.waiting.len() + self.reserved.len() + usize::from(self.running.is_some()))
    }

    /// Tells each waiting generation its position where it has changed.
    pub(super) fn publish_positions(&mut self) {
        let changed: Vec<(String, u32)> = self
            .waiting
            .values()
            .enumerate()
            .map(|(i, waiting)| (waiting, count(i) + u32::from(self.running.is_some())))
            .filter(|(waiting, ahead)| waiting.published_position != Some(*ahead))
            .map(|(waiting, ahead)| (waiting.generation.id.clone(), ahead))
            .collect();
        for (id, ahead) in changed {
            let (_, wait_ms) = self.position(&id);
            if let Some(log) = self.logs.get(&id) {
                log.send_modify(|log| log.push(GenerationEvent::Queued { ahead, wait_ms }));
            }
            if let Some(waiting) = self.waiting.get_mut(&id) {
                waiting.published_position = Some(ahead);
            }
        }
    }

    pub(super) fn position(&self, id: &str) -> (u32, Option<u64>) {
        let before = || self.waiting.values().take_while(|waiting| waiting.generation.id.as_str() < id);
        (count(before().count()) + u32::from(self.running.is_some()), self.wait(before()))
    }

    /// Expected milliseconds until the running generation and `before` are done; `None` while nothing is known.
    pub(super) fn wait<'a>(&self, before: impl Iterator<Item = &'a Waiting>) -> Option<u64> {
        let running = match &self.running {
            None => Some(0.0),
            Some(Running { remaining: Some((at, ms)), .. }) => {
                Some((ms - at.elapsed().as_secs_f64() * 1e3).max(0.0))
            }
            Some(Running { generation, .. }) => self.timing.images(&generation.spec, generation.left()),
        }?;
        before
            .map(|waiting| self.timing.images(&waiting.generation.spec, waiting.generation.left()))
            .sum::<Option<f64>>()
            .map(|waiting| whole(running + waiting))
    }
}

pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Milliseconds as a whole number; the cast saturates.
pub(super) fn whole(ms: f64) -> u64 {
    ms.max(0.0).round() as u64
}
