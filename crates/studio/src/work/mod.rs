//! Work: everything that takes the device's time is a job in one queue of the database, claimed under a lease (`claim`,
//! `pick`, `lease`), run unit by unit by one task (`scheduler`) and followed by numbered events (`events`). A kind of job
//! is one file: `generation`, `training`.
//!
//! [`Work`] is this node's part of it in memory. One mutex guards it all. It is held for a few microseconds at a time, never
//! across an await, a step, a file or a row, and no other lock is acquired inside it except that of a job's `watch` channel
//! (whose readers hold it just as briefly). Rows are written before what they say is published.

pub(crate) mod admin;
mod claim;
mod events;
mod generation;
mod lease;
mod model;
mod pick;
mod render;
mod restore;
mod scheduler;
#[cfg(test)]
mod tests;
mod training;
mod waiting;
mod withdrawals;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use adire_protocol::{GenerationEvent, GenerationSpec, Intake, Progress, QueueStatus};
use tokio::sync::{Notify, watch};

pub(crate) use events::{follow_generation, follow_training};
pub(crate) use generation::{expected_ms, wants};
pub(crate) use lease::{Hold, Stop, keep};
pub(crate) use model::{
    Asked, Claimed, EndedBy, JobKind, JobState, Lease, NUMBERS_PER_LEASE, NewJob, Outcome, Queued, WriteError,
};
pub(crate) use pick::{Candidate, turn};
pub(crate) use restore::unfinished;
pub(crate) use scheduler::run;
pub(crate) use training::expected_training_ms;
pub(crate) use waiting::QueuedGeneration;

use events::Live;
use waiting::{Running, State, whole};
use withdrawals::Withdrawals;

use crate::{
    StudioError,
    client::Who,
    limits::{Budget, Caps},
    shared::now,
    timing::{ImageCost, StepTimer, Timing},
};

/// This node's part of the work; see the module documentation.
pub(crate) struct Work {
    /// As rows name this node.
    pub(crate) node: String,
    state: Mutex<State>,
    caps: Caps,
    budget: Budget,
    /// Whether a training may wait that nobody has looked for yet.
    training_waits: AtomicBool,
    /// Wakes the scheduler; keeps one permit, so a wake between its look and its wait is not lost.
    wake: Notify,
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
            early: Default::default(),
            lives: HashMap::new(),
            timing,
            withdrawals: Withdrawals::default(),
            intake: Intake::default(),
            resident: None,
            changes: 0,
        };
        Self {
            node,
            state: Mutex::new(state),
            caps,
            budget,
            training_waits: AtomicBool::new(true),
            wake: Notify::new(),
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

    fn set_intake(&self, intake: Intake) {
        self.lock().intake = intake;
    }

    /// Whether the adapters that a job wants are in effect.
    fn is_resident(&self, wants: &str) -> bool {
        self.lock().resident.as_deref() == Some(wants)
    }

    /// Puts a generation whose row is written into the copy of the queue; its position, unless it has been claimed.
    pub(crate) fn enqueue(&self, generation: QueuedGeneration, queued: Queued) -> Option<(u32, Option<u64>)> {
        let mut state = self.lock();
        // While closing the row stays; the next start finds it.
        if state.closing || state.early.remove(&generation.id) {
            return None;
        }
        let id = generation.id.clone();
        live(&mut state, &id).send_modify(|live| live.store(queued.event));
        state.insert(queued.turn, generation, None);
        state.publish_positions();
        let position = state.position(&id);
        drop(state);
        self.wake.notify_one();
        position
    }

    /// Reads the queue anew; see [`restore::refresh`].
    pub(crate) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Ids of the generations that wait here.
    fn waiting_ids(&self) -> Vec<(i64, String)> {
        self.lock().waiting.keys().cloned().collect()
    }

    /// Replaces the copy of the queue by what was read, unless it was changed since `changes`.
    fn replace(&self, changes: u64, gone: &[String], new: Vec<(Queued, QueuedGeneration)>) {
        let mut state = self.lock();
        if state.changes != changes || state.closing {
            return;
        }
        // Those that were only moved are among `new`, too.
        let known: HashMap<&String, Option<u32>> =
            gone.iter().filter_map(|id| Some((id, state.remove(id)?.published_position))).collect();
        for (queued, generation) in new {
            if !state.held.contains_key(&generation.id) {
                live(&mut state, &generation.id).send_modify(|live| live.store(queued.event));
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
    async fn changed(&self) {
        self.wake.notified().await;
    }

    /// The turn of the generation that is due next.
    fn next_turn(&self) -> Option<i64> {
        self.lock().waiting.keys().next().map(|(turn, _)| *turn)
    }

    /// A job has been claimed.
    fn hold(&self, claimed: &Claimed) -> Arc<Hold> {
        let hold = Arc::new(Hold::new(claimed.lease.clone()));
        let mut state = self.lock();
        if state.closing {
            hold.stop(Stop::Closing);
        }
        state.held.insert(claimed.lease.job.clone(), hold.clone());
        live(&mut state, &claimed.lease.job).send_modify(|live| live.store(claimed.event()));
        hold
    }

    /// A generation that was claimed does not wait any more; what is known of it, unless it has not been put here yet.
    fn take_out(&self, id: &str) -> Option<QueuedGeneration> {
        let mut state = self.lock();
        let generation = state.remove(id).map(|waiting| waiting.generation);
        if generation.is_none() {
            state.early.insert(id.to_owned());
        }
        generation
    }

    /// Its images are being made from now on.
    fn started(&self, generation: QueuedGeneration, wants: &str) {
        let mut state = self.lock();
        state.resident = Some(wants.to_owned());
        state.running.push(Running { generation, progress: None, remaining: None });
        state.publish_positions();
    }

    /// This node has nothing to do with a job any more: it has ended, or somebody else has it. `event`: the last one, where
    /// it was stored; `passing`: where it could not be. People who watch should not wait for ever.
    fn let_go(&self, id: &str, event: Option<u64>, passing: Option<GenerationEvent>) {
        let mut state = self.lock();
        state.held.remove(id);
        state.running.retain(|running| running.generation.id != id);
        if let Some(live) = state.lives.get(id) {
            live.send_modify(|live| match (event, passing) {
                (Some(number), _) => live.store(number),
                (None, Some(event)) => live.pass(event),
                (None, None) => {}
            });
        }
        // Readers keep the channel's value until they have read to its end.
        state.lives.remove(id);
        state.publish_positions();
        drop(state);
        self.wake.notify_one();
    }

    /// A waiting generation has ended.
    pub(crate) fn withdraw(&self, id: &str, event: u64) {
        self.lock().remove(id);
        self.let_go(id, Some(event), None);
    }

    /// A stored event of a job that this node holds.
    pub(crate) fn stored(&self, id: &str, event: u64) {
        if let Some(live) = self.lock().lives.get(id) {
            live.send_modify(|live| live.store(event));
        }
    }

    /// The least number that the next event of a job may get: those above were given to what is not stored.
    pub(crate) fn next_event(&self, id: &str) -> u64 {
        self.lock().lives.get(id).map_or(0, |live| live.borrow().next())
    }

    /// Has a job stop that this node holds.
    pub(crate) fn stop(&self, id: &str, why: Stop) {
        if let Some(hold) = self.lock().held.get(id) {
            hold.stop(why);
        }
    }

    /// Lets a job go on that was asked to pause and still runs.
    pub(crate) fn go_on(&self, id: &str) {
        if let Some(hold) =
            self.lock().held.get(id).filter(|hold| hold.stopped() == Some(Stop::Asked(Asked::Pause)))
        {
            hold.go_on();
        }
    }

    /// Tells those who follow a job that something about it has changed.
    pub(crate) fn notify(&self, id: &str) {
        if let Some(live) = self.lock().lives.get(id) {
            live.send_modify(|_| {});
        }
    }

    /// The same of all jobs: their places may have changed. Wakes the scheduler, too.
    pub(crate) fn notify_all(&self) {
        self.lock().lives.values().for_each(|live| live.send_modify(|_| {}));
        self.wake.notify_one();
    }

    /// A training waits, or may wait.
    pub(crate) fn training_waits(&self) {
        self.training_waits.store(true, Ordering::Relaxed);
        self.notify_all();
    }

    /// Whether a training may wait; asked once for each time that one may have come.
    fn look_for_training(&self) -> bool {
        self.training_waits.swap(false, Ordering::Relaxed)
    }

    fn held(&self) -> Vec<Arc<Hold>> {
        self.lock().held.values().cloned().collect()
    }

    /// Whether this node still holds it.
    fn holds(&self, hold: &Arc<Hold>) -> bool {
        self.lock().held.get(&hold.lease.job).is_some_and(|held| Arc::ptr_eq(held, hold))
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

    /// Publishes how far a running generation is. `here` counts images made by this run, before this one.
    fn progress(&self, id: &str, mut progress: Progress, here: u32, timer: &StepTimer) {
        let mut state = self.lock();
        let timing = state.timing;
        let Some(running) = state.running.iter_mut().find(|running| running.generation.id == id) else {
            return;
        };
        let known = timing.cost(&running.generation.spec);
        // What this image shows of itself is nearer to the truth than the average.
        let cost = match (timer.step(), known) {
            (Some(step), known) => Some(ImageCost { step, fixed: known.map_or(0.0, |cost| cost.fixed) }),
            (None, known) => known,
        };
        let images = f64::from(running.generation.left().saturating_sub(here + 1));
        let steps = f64::from(progress.steps);
        let remaining = cost.map(|cost| {
            let this = (steps - f64::from(progress.step)) * cost.step + cost.fixed;
            this + images * (steps * cost.step + cost.fixed)
        });
        progress.remaining_ms = remaining.map(whole);
        running.remaining = remaining.map(|ms| (Instant::now(), ms));
        running.progress = Some(Progress { preview: None, ..progress.clone() });
        if let Some(live) = state.lives.get(id) {
            live.send_modify(|live| live.pass(GenerationEvent::Progress(progress)));
        }
    }

    /// Updates the averages from a finished image.
    fn record_timing(&self, spec: &GenerationSpec, timer: &StepTimer, total: Duration) {
        self.lock().timing.add_measurement(spec, timer, total);
    }

    /// What images cost at the native size.
    pub(crate) fn cost(&self) -> Option<ImageCost> {
        self.lock().timing.native()
    }

    /// Expected milliseconds of so many images.
    pub(crate) fn expected(&self, spec: &GenerationSpec, images: u32) -> Option<f64> {
        self.lock().timing.images(spec, images)
    }

    /// The time of the next image.
    fn image_time(&self) -> i64 {
        let next = now().max(self.newest_image.load(Ordering::Relaxed) + 1);
        self.newest_image.store(next, Ordering::Relaxed);
        next
    }

    /// Position and expected wait of a generation that waits.
    pub(crate) fn position(&self, id: &str) -> Option<(u32, Option<u64>)> {
        self.lock().position(id)
    }

    /// How far a running generation is, without its preview.
    pub(crate) fn running(&self, id: &str) -> Option<Progress> {
        self.lock().running.iter().find(|running| running.generation.id == id)?.progress.clone()
    }

    /// What happens to a job from now on.
    pub(crate) fn subscribe(&self, id: &str) -> Result<watch::Receiver<Live>, StudioError> {
        let mut state = self.lock();
        if state.closing {
            return Err(StudioError::ShuttingDown);
        }
        Ok(live(&mut state, id).subscribe())
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.lock().closing
    }

    /// Refuses new generations and signals what runs to stop.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        for hold in state.held.values() {
            hold.stop(Stop::Closing);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Ends every event stream.
    pub(crate) fn close_streams(&self) {
        self.lock().lives.clear();
    }
}

fn check_intake(state: &State) -> Result<(), StudioError> {
    if state.closing {
        return Err(StudioError::ShuttingDown);
    }
    if state.intake.paused { Err(StudioError::IntakePaused) } else { Ok(()) }
}

/// The channel of a job; made where it is absent.
fn live<'a>(state: &'a mut State, id: &str) -> &'a watch::Sender<Live> {
    state.lives.entry(id.to_owned()).or_insert_with(|| watch::Sender::new(Live::default()))
}
