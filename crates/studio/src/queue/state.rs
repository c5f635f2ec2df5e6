//! This node's copy of what waits and runs, which positions, expected waits and limits are read from. The database is the
//! truth; what is changed here is changed there first.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use adire_protocol::{GenerationEvent, GenerationSpec, Intake, Progress, WaitReason};
use tokio::sync::watch;

use super::{hold::Hold, live::Live, withdrawals::Withdrawals};
use crate::{client::Who, job::JobKind, limits::cost, timing::Timing};

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
        self.spec.count.saturating_sub(count(self.finished.len()))
    }

    /// The spec of its first unfinished image.
    pub(super) fn next(&self) -> Option<GenerationSpec> {
        let next = (0..self.spec.count).find(|index| !self.finished.contains(index));
        next.map(|index| self.spec.of_image(index))
    }
}

pub(super) struct Waiting {
    pub(super) generation: QueuedGeneration,
    /// The position last published.
    pub(super) published_position: Option<u32>,
}

pub(super) struct Running {
    pub(super) generation: QueuedGeneration,
    pub(super) progress: Option<Progress>,
    /// Time and value, in milliseconds, of the last estimate of the remaining time; of what is left of a batch, its share.
    pub(super) remaining: Option<(Instant, f64)>,
}

pub(super) struct State {
    pub(super) closing: bool,
    pub(super) capacity: u32,
    /// Places of requests whose rows are being written, with who asks and what they cost.
    pub(super) reserved: Vec<(Who, f64)>,
    /// By turn and id, as the database sorts them.
    pub(super) waiting: BTreeMap<(i64, String), Waiting>,
    /// What this node runs: those of `unit`, and those that give way to newcomers between two images.
    pub(super) running: Vec<Running>,
    /// Jobs of any kind that this node holds.
    pub(super) held: HashMap<String, Arc<Hold>>,
    /// Kinds of which a job may wait that nobody has looked for yet.
    pub(super) may_wait: HashSet<JobKind>,
    /// Claimed before they were put in `waiting`.
    pub(super) early: HashSet<String>,
    /// Those that somebody follows or that this node has to do with.
    pub(super) lives: HashMap<String, watch::Sender<Live>>,
    pub(super) timing: Timing,
    pub(super) withdrawals: Withdrawals,
    pub(super) intake: Intake,
    /// That the device is at something else than a generation.
    pub(super) unit_reason: Option<WaitReason>,
    /// What the generation wanted that was begun last: its adapters are in effect.
    pub(super) resident: Option<String>,
    /// Jobs whose unit the device does, or did last.
    pub(super) unit: Vec<String>,
    /// Grows with every change of `waiting`, so that a list read from the database meanwhile is known to be old.
    pub(super) changes: u64,
}

/// Where a waiting generation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Generations before it.
    pub(crate) ahead: u32,
    /// Expected milliseconds until it starts; `None` while nothing is known.
    pub(crate) wait_ms: Option<u64>,
    /// What it waits for.
    pub(crate) reason: Option<WaitReason>,
}

impl Place {
    /// Of one that is about to start.
    pub(crate) const FIRST: Self = Self { ahead: 0, wait_ms: Some(0), reason: None };

    pub(crate) fn event(self) -> GenerationEvent {
        let Self { ahead, wait_ms, reason } = self;
        GenerationEvent::Queued { ahead, wait_ms, wait_reason: reason }
    }
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
        for (i, running) in
            self.running.iter().enumerate().filter(|(_, running)| counts(&running.generation.who))
        {
            share.waiting += u32::from(self.gives_way(i));
            share.cost += running.generation.cost();
        }
        share
    }

    /// Whether a running generation gives way to others at the moment, and so waits. Between two units all but the first do.
    fn gives_way(&self, at: usize) -> bool {
        let made = |running: &Running| self.unit.contains(&running.generation.id);
        if self.running.iter().any(made) { !made(&self.running[at]) } else { at > 0 }
    }

    /// How many wait, those included that give way to others between their images.
    pub(super) fn waiting(&self) -> u32 {
        let giving_way = (0..self.running.len()).filter(|at| self.gives_way(*at)).count();
        count(self.waiting.len() + self.reserved.len() + giving_way)
    }

    pub(super) fn len(&self) -> u32 {
        count(self.waiting.len() + self.reserved.len() + self.running.len())
    }

    /// The channel of a job; made where it is absent.
    pub(super) fn live(&mut self, id: &str) -> &watch::Sender<Live> {
        self.lives.entry(id.to_owned()).or_insert_with(|| watch::Sender::new(Live::default()))
    }

    /// `published`: the position that is known outside.
    pub(super) fn insert(&mut self, turn: i64, generation: QueuedGeneration, published: Option<u32>) {
        let key = (turn, generation.id.clone());
        self.waiting.insert(key, Waiting { generation, published_position: published });
        self.changes += 1;
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Waiting> {
        let key = self.waiting.keys().find(|(_, other)| other == id).cloned()?;
        self.changes += 1;
        self.waiting.remove(&key)
    }

    /// Tells each waiting generation its position where it has changed.
    pub(super) fn publish_positions(&mut self) {
        let running = self.running.len();
        let changed: Vec<((i64, String), u32)> = self
            .waiting
            .iter()
            .enumerate()
            .map(|(i, (key, waiting))| (key, waiting, count(i + running)))
            .filter(|(_, waiting, ahead)| waiting.published_position != Some(*ahead))
            .map(|(key, _, ahead)| (key.clone(), ahead))
            .collect();
        for (key, ahead) in changed {
            let place = self.place(&key);
            let first =
                self.waiting.get_mut(&key).and_then(|w| w.published_position.replace(ahead)).is_none();
            // The stored event says that it waits; a reader of that gets the position it has then.
            if let Some(live) = self.lives.get(&key.1).filter(|_| !first) {
                live.send_modify(|live| live.pass(place.event()));
            }
        }
    }

    /// Where the one with that id is, if it waits.
    pub(super) fn place_of(&self, id: &str) -> Option<Place> {
        let key = self.waiting.keys().find(|(_, other)| other == id)?;
        Some(self.place(key))
    }

    /// What one waits for that has started and made no step yet.
    pub(super) fn delay(&self, id: &str) -> Option<WaitReason> {
        let running = self.running.iter().find(|running| running.generation.id == id)?;
        if running.progress.is_none() { self.unit_reason } else { None }
    }

    fn place(&self, key: &(i64, String)) -> Place {
        let before = || self.waiting.range(..key).map(|(_, waiting)| waiting);
        let others =
            before().map(|waiting| &waiting.generation).chain(self.running.iter().map(|r| &r.generation));
        let who = self.waiting.get(key).map(|waiting| &waiting.generation.who);
        let (mut ahead, mut own) = (0, 0);
        for other in others {
            ahead += 1;
            own += usize::from(who.is_some_and(|who| who.is(&other.who)));
        }
        let reason = match ahead {
            0 => self.unit_reason,
            _ if own == ahead => Some(WaitReason::OwnGenerations),
            _ => Some(WaitReason::OtherGenerations),
        };
        Place { ahead: count(ahead), wait_ms: self.wait(before()), reason }
    }

    /// Expected milliseconds until what runs and `before` are done; `None` while nothing is known.
    pub(super) fn wait<'a>(&self, before: impl Iterator<Item = &'a Waiting>) -> Option<u64> {
        let running = self.running.iter().map(|running| match &running.remaining {
            Some((at, ms)) => Some((ms - at.elapsed().as_secs_f64() * 1e3).max(0.0)),
            None => self.timing.images(&running.generation.spec, running.generation.left()),
        });
        let waiting =
            before.map(|waiting| self.timing.images(&waiting.generation.spec, waiting.generation.left()));
        running.chain(waiting).sum::<Option<f64>>().map(whole)
    }
}

pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Milliseconds as a whole number; the cast saturates.
pub(super) fn whole(ms: f64) -> u64 {
    ms.max(0.0).round() as u64
}
