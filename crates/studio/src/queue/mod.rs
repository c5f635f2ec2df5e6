//! This node's part of the work, in memory: its copy of the queue, the jobs that it holds, and what those who follow them
//! are told. Knows no rows, files or backend; `work` runs it.
//!
//! One mutex guards it all. It is held for a few microseconds at a time, never across an await, a step, a file or a row, and
//! no other lock is acquired inside it except that of a job's `watch` channel (whose readers hold it just as briefly). Rows
//! are written before what they say is published.

mod followed;
mod held;
mod hold;
mod live;
mod progress;
mod state;
mod withdrawals;

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Instant,
};

use adire_protocol::{Event, GenerationSpec, Intake, QueueStatus, WaitReason};
use tokio::sync::Notify;

pub(crate) use hold::{Hold, Stop};
pub(crate) use live::Live;
pub(crate) use progress::Counts;
pub(crate) use state::{Place, QueuedGeneration};

use state::{State, Waiting};
use withdrawals::Withdrawals;

use crate::{
    StudioError,
    client::Who,
    job::{JobKind, PATIENCE, Queued},
    limits::{Budget, Caps},
    timing::Timing,
};

/// This node's part of the work; see the module documentation.
pub(crate) struct Work {
    /// As rows name this node.
    pub(crate) node: String,
    state: Mutex<State>,
    caps: Caps,
    budget: Budget,
    /// Whether a pair of a shadow may wait that nobody has looked for yet.
    shadow_waits: AtomicBool,
    /// Wakes the scheduler; keeps one permit, so a wake between its look and its wait is not lost.
    wake: Notify,
    /// The same for jobs that do not use the device, such as pushes.
    wake_off_device: Notify,
    /// Time of the newest image: each is later than the one before, even within a millisecond or after the system's clock
    /// was set back, because the history pages by them.
    newest_image: AtomicI64,
}

/// A reserved place in the queue while the row is written; released on drop.
pub(crate) struct Slot<'a> {
    work: &'a Work,
    who: Who,
    cost: f64,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = self.work.lock();
        let place = (self.who.clone(), self.cost);
        if let Some(at) = state.reserved.iter().position(|reserved| *reserved == place) {
            state.reserved.swap_remove(at);
        }
        drop(state);
        self.work.wake.notify_one();
    }
}

/// What a node begins with.
pub(crate) struct WorkConfig {
    pub(crate) node: String,
    pub(crate) capacity: usize,
    pub(crate) timing: Timing,
    pub(crate) caps: Caps,
    pub(crate) budget: Budget,
    /// Time of the newest image.
    pub(crate) newest_image: i64,
}

impl Work {
    pub(crate) fn new(config: WorkConfig) -> Self {
        let WorkConfig { node, capacity, timing, caps, budget, newest_image } = config;
        let state = State {
            closing: false,
            capacity: u32::try_from(capacity).unwrap_or(u32::MAX).max(1),
            reserved: Vec::new(),
            waiting: Default::default(),
            running: Vec::new(),
            held: HashMap::new(),
            may_wait: JobKind::ALL.into_iter().collect(),
            early: Default::default(),
            lives: HashMap::new(),
            timing,
            withdrawals: Withdrawals::default(),
            intake: Intake::default(),
            unit_reason: None,
            resident: None,
            unit: Vec::new(),
            changes: 0,
        };
        Self {
            node,
            state: Mutex::new(state),
            caps,
            budget,
            shadow_waits: AtomicBool::new(true),
            wake: Notify::new(),
            wake_off_device: Notify::new(),
            newest_image: AtomicI64::new(newest_image),
        }
    }

    /// Nothing that holds the lock panics; were it to, the state would still be whole, so poison is ignored.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Length of the queue and expected wait.
    pub(crate) fn status(&self) -> QueueStatus {
        let state = self.lock();
        let cost = state.timing.native();
        QueueStatus {
            ahead: state.len(),
            capacity: state.capacity,
            wait_ms: state.wait(state.waiting.values()),
            step_ms: cost.map(|cost| cost.step),
            fixed_ms: cost.map(|cost| cost.fixed),
        }
    }

    /// Whether any generation waits, runs or is about to be written.
    pub(crate) fn is_busy(&self) -> bool {
        self.lock().len() > 0
    }

    /// Cost limits of generations.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Reserves a slot for a request that is about to be written. `cost`: its megapixel-steps.
    pub(crate) fn reserve(&self, who: &Who, cost: f64) -> Result<Slot<'_>, StudioError> {
        let mut state = self.lock();
        check_intake(&state)?;
        if let Some(wait) = state.withdrawals.wait(who, Instant::now()) {
            return Err(StudioError::TooManyWithdrawn { retry_after: wait.as_secs().max(1) });
        }
        // Limits of the visitor are reported first, even when the queue is full.
        let (mine, near) = (state.share(|other| who.is(other)), state.share(|other| who.is_near(other)));
        let Caps { waiting, waiting_of_network, .. } = self.caps;
        for (share, most, network) in [(mine, waiting, false), (near, waiting_of_network, true)] {
            if share.waiting >= most {
                return Err(StudioError::TooManyWaiting { waiting: share.waiting, most, network });
            }
        }
        for (share, most, network) in [(mine, self.budget.visitor, false), (near, self.budget.network, true)]
        {
            if share.cost > 0.0 && share.cost + cost > most {
                return Err(StudioError::TooMuchWaiting { cost: share.cost + cost, most, network });
            }
        }
        if state.waiting() >= state.capacity {
            let wait_ms = state.wait(state.waiting.values());
            return Err(StudioError::QueueFull { ahead: state.len(), wait_ms });
        }
        state.reserved.push((who.clone(), cost));
        Ok(Slot { work: self, who: who.clone(), cost })
    }

    /// Refuses new jobs of any kind while the studio closes or the admin has paused them.
    pub(crate) fn check_intake(&self) -> Result<(), StudioError> {
        check_intake(&self.lock())
    }

    /// Whether the admin has paused new jobs.
    pub(crate) fn intake(&self) -> Intake {
        self.lock().intake
    }

    pub(crate) fn set_intake(&self, intake: Intake) {
        self.lock().intake = intake;
    }

    /// Whether the adapters that a job wants are in effect.
    pub(crate) fn is_resident(&self, wants: &str) -> bool {
        self.lock().resident.as_deref() == Some(wants)
    }

    /// Puts a generation whose row is written into the copy of the queue; its place, unless it has been claimed.
    pub(crate) fn enqueue(&self, generation: QueuedGeneration, queued: Queued) -> Option<Place> {
        let mut state = self.lock();
        // While closing the row stays; the next start finds it.
        if state.closing || state.early.remove(&generation.id) {
            return None;
        }
        let id = generation.id.clone();
        let event = Event { id: queued.event, event: Place::FIRST.event() };
        state.live(&id).send_modify(|live| live.store_first(event));
        state.insert(queued.turn, generation, None);
        state.publish_positions();
        let place = state.place_of(&id);
        drop(state);
        self.wake.notify_one();
        place
    }

    /// Grows with every change of what waits here; for [`Self::replace`].
    pub(crate) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Ids of the generations that wait here.
    pub(crate) fn waiting_ids(&self) -> Vec<(i64, String)> {
        self.lock().waiting.keys().cloned().collect()
    }

    /// Replaces the copy of the queue by what was read, unless it was changed since `changes`.
    pub(crate) fn replace(&self, changes: u64, gone: &[String], new: Vec<(Queued, QueuedGeneration)>) {
        let mut state = self.lock();
        if state.changes != changes || state.closing {
            return;
        }
        // Those that were only moved are among `new`, too.
        let known: HashMap<&String, Option<u32>> =
            gone.iter().filter_map(|id| Some((id, state.remove(id)?.published_position))).collect();
        for (queued, generation) in new {
            if !state.held.contains_key(&generation.id) {
                state.live(&generation.id).send_modify(|live| live.store(queued.event));
                let published = known.get(&generation.id).copied().flatten();
                state.insert(queued.turn, generation, published);
            }
        }
        state.early.clear();
        state.publish_positions();
        // Other nodes may have stored events of these.
        let State { lives, held, waiting, .. } = &mut *state;
        let waits = |id: &String| waiting.keys().any(|(_, other)| other == id);
        lives.retain(|id, live| held.contains_key(id) || waits(id) || live.receiver_count() > 0);
        for live in lives.iter().filter(|(id, _)| !held.contains_key(*id)).map(|(_, live)| live) {
            live.send_modify(|_| {});
        }
    }

    /// Wakes the scheduler.
    pub(crate) fn look_again(&self) {
        self.wake.notify_one();
    }

    /// Waits for something to have changed.
    pub(crate) async fn changed(&self) {
        self.wake.notified().await;
    }

    /// The turn of the generation that is due next.
    pub(crate) fn next_turn(&self) -> Option<i64> {
        self.lock().waiting.keys().next().map(|(turn, _)| *turn)
    }

    /// The generation that waits here, if it is the only one.
    pub(crate) fn only_waiting(&self) -> Option<String> {
        let state = self.lock();
        let mut ids = state.waiting.keys().map(|(_, id)| id);
        ids.next().filter(|_| ids.next().is_none()).cloned()
    }

    /// Generations that wait here whose next images share a batch with one of `spec`, at most so many. They pass over others only
    /// as far as [`PATIENCE`] allows, and over none of their own visitor's.
    pub(crate) fn waiting_like(&self, spec: &GenerationSpec, most: usize) -> Vec<String> {
        let state = self.lock();
        let Some((first, _)) = state.waiting.keys().next() else { return Vec::new() };
        let latest = first.saturating_add(PATIENCE.as_millis() as i64);
        let (mut like, mut passed) = (Vec::new(), Vec::<&Who>::new());
        for ((turn, id), Waiting { generation, .. }) in &state.waiting {
            if *turn > latest || like.len() >= most {
                break;
            }
            if passed.iter().any(|who| who.is(&generation.who)) {
                continue;
            }
            match generation.next() {
                Some(next) if next.shares_batch(spec) => like.push(id.clone()),
                _ => passed.push(&generation.who),
            }
        }
        like
    }

    /// The device does a unit of these jobs now.
    pub(crate) fn set_unit(&self, jobs: Vec<String>) {
        self.lock().unit = jobs;
    }

    /// A job of that kind waits, or may wait.
    pub(crate) fn waits(&self, kind: JobKind) {
        self.lock().may_wait.insert(kind);
        self.notify_all();
        self.wake_off_device.notify_one();
    }

    /// Whether a job of that kind may wait; asked once for each time that one may have come.
    pub(crate) fn look_for(&self, kind: JobKind) -> bool {
        self.lock().may_wait.remove(&kind)
    }

    /// Waits for something to have changed about what the device has nothing to do with.
    pub(crate) async fn changed_off_device(&self) {
        self.wake_off_device.notified().await;
    }

    /// A pair of a shadow waits, or may wait.
    pub(crate) fn shadow_waits(&self) {
        self.shadow_waits.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Whether a pair may wait; asked once for each time that one may have come.
    pub(crate) fn look_for_shadow(&self) -> bool {
        self.shadow_waits.swap(false, Ordering::Relaxed)
    }

    /// Everything that runs and waits, in the order in which it is made; `true` for what runs.
    pub(crate) fn generations(&self) -> Vec<(QueuedGeneration, bool)> {
        let state = self.lock();
        let running = state.running.iter().map(|running| (running.generation.clone(), true));
        running.chain(state.waiting.values().map(|waiting| (waiting.generation.clone(), false))).collect()
    }

    /// Counts a generation that was cancelled before it started.
    pub(crate) fn count_withdrawal(&self, who: &Who) {
        self.lock().withdrawals.count(who, Instant::now());
    }

    /// Where a generation is that waits.
    pub(crate) fn place(&self, id: &str) -> Option<Place> {
        self.lock().place_of(id)
    }

    /// What a generation waits for that has started and made no step yet.
    pub(crate) fn delay(&self, id: &str) -> Option<WaitReason> {
        self.lock().delay(id)
    }

    /// What generations wait for from now on that wait for the unit that the device does.
    pub(crate) fn set_unit_reason(&self, reason: Option<WaitReason>) {
        self.lock().unit_reason = reason;
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.lock().closing
    }
}

fn check_intake(state: &State) -> Result<(), StudioError> {
    if state.closing {
        return Err(StudioError::ShuttingDown);
    }
    if state.intake.paused { Err(StudioError::IntakePaused) } else { Ok(()) }
}
