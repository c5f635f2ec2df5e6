//! In-memory queue of generations and their event logs. The database is the source of truth;
//! this is rebuilt from it at startup.
//!
//! One mutex guards it all. It is held for a few microseconds at a time, never across an await, a step, a
//! file or a row, and no other lock is acquired inside it except that of a log's `watch` channel (whose readers
//! hold it just as briefly). Rows are written before what they say is published.

mod state;
mod withdrawals;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use adire_protocol::{Event, GenerationEvent, GenerationSpec, Progress, QueueStatus};
use tokio::sync::{Notify, watch};

pub(crate) use state::QueuedGeneration;
use state::{Running, State, Waiting, count, whole};
use withdrawals::Withdrawals;

use crate::{
    StudioError,
    client::Who,
    limits::{Budget, Caps},
    log::Log,
    timing::{ImageCost, StepTimer, Timing},
};

/// Why the running generation must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Cancelled,
    Closing,
}

/// Outcome of a cancellation.
pub(crate) enum CancelOutcome {
    /// It waited and is out of the queue now; its end is not yet written or published.
    Removed(Box<QueuedGeneration>),
    /// It runs and will stop within one step.
    Stopping,
    /// It neither waits nor runs.
    Absent,
}

/// The in-memory queue; see the module documentation.
pub(crate) struct Queue {
    state: Mutex<State>,
    caps: Caps,
    budget: Budget,
    /// Wakes the dispatcher; keeps one permit, so a wake between its look and its wait is not lost.
    wake: Notify,
    /// Tells those who wait for it that nothing waits or runs any more, or that the studio closes.
    idle: Notify,
}

/// A reserved place in the queue while the row is written; released on drop.
pub(crate) struct Slot<'a> {
    queue: &'a Queue,
    who: Who,
    cost: f64,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        let place = (self.who.clone(), self.cost);
        if let Some(at) = state.reserved.iter().position(|reserved| *reserved == place) {
            state.reserved.swap_remove(at);
        }
        drop(state);
        self.queue.idle.notify_waiters();
    }
}

impl Queue {
    pub(crate) fn new(capacity: usize, timing: Timing, caps: Caps, budget: Budget) -> Self {
        let capacity = u32::try_from(capacity).unwrap_or(u32::MAX).max(1);
        let state = State {
            closing: false,
            capacity,
            reserved: Vec::new(),
            waiting: BTreeMap::new(),
            running: None,
            logs: HashMap::new(),
            timing,
            withdrawals: Withdrawals::default(),
        };
        Self { state: Mutex::new(state), caps, budget, wake: Notify::new(), idle: Notify::new() }
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

    /// Waits until none does, or until the studio closes.
    pub(crate) async fn idle(&self) {
        loop {
            // Made before the look, so that a change between the look and the wait is not lost.
            let changed = self.idle.notified();
            if !self.is_busy() || self.is_closing() {
                return;
            }
            changed.await;
        }
    }

    /// Cost limits of generations.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Reserves a slot for a request that is about to be written. `cost`: its megapixel-steps.
    pub(crate) fn reserve(&self, who: &Who, cost: f64) -> Result<Slot<'_>, StudioError> {
        let mut state = self.lock();
        if state.closing {
            return Err(StudioError::ShuttingDown);
        }
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
        if count(state.waiting.len() + state.reserved.len()) >= state.capacity {
            let wait_ms = state.wait(state.waiting.values());
            return Err(StudioError::QueueFull { ahead: state.len(), wait_ms });
        }
        state.reserved.push((who.clone(), cost));
        Ok(Slot { queue: self, who: who.clone(), cost })
    }

    /// Creates the log of a generation whose row is about to be written.
    pub(crate) fn announce(&self, id: &str) {
        let mut state = self.lock();
        if !state.closing {
            state.logs.insert(id.to_owned(), watch::Sender::new(Log::new(1, Vec::new())));
        }
    }

    /// Removes the log of a generation whose row could not be written.
    pub(crate) fn withdraw(&self, id: &str) {
        self.lock().logs.remove(id);
    }

    /// Puts a generation whose row is written into the queue. `first` is the number of its first event, `kept` are
    /// events of an earlier run.
    pub(crate) fn enqueue(&self, generation: QueuedGeneration, first: u64, kept: Vec<Event>) {
        let mut state = self.lock();
        if state.closing {
            // The row stays; the next start finds it.
            return;
        }
        let log = || watch::Sender::new(Log::new(first, kept));
        state.logs.entry(generation.id.clone()).or_insert_with(log);
        state.waiting.insert(generation.id.clone(), Waiting { generation, published_position: None });
        state.publish_positions();
        drop(state);
        self.wake.notify_one();
    }

    /// The next generation, once there is one; `None` when the studio closes.
    pub(crate) async fn next(&self) -> Option<(QueuedGeneration, Arc<AtomicBool>)> {
        while !self.is_closing() {
            if let Some(generation) = self.take() {
                return Some(generation);
            }
            self.wake.notified().await;
        }
        None
    }

    fn take(&self) -> Option<(QueuedGeneration, Arc<AtomicBool>)> {
        let mut state = self.lock();
        // A generation taken after closing would be run; one left here is found by the next start.
        let (_, Waiting { generation, .. }) = if state.closing { None } else { state.waiting.pop_first() }?;
        let stop = Arc::new(AtomicBool::new(false));
        state.running = Some(Running {
            generation: generation.clone(),
            stop: stop.clone(),
            cancelled: false,
            progress: None,
            remaining: None,
        });
        Some((generation, stop))
    }

    /// Why the running generation must stop, if it was.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        let state = self.lock();
        match &state.running {
            Some(running) if running.cancelled => Some(Stop::Cancelled),
            _ if state.closing => Some(Stop::Closing),
            _ => None,
        }
    }

    /// Removes a generation from the queue or signals it to stop.
    pub(crate) fn cancel(&self, id: &str) -> CancelOutcome {
        let mut state = self.lock();
        if let Some(waiting) = state.waiting.remove(id) {
            state.publish_positions();
            return CancelOutcome::Removed(Box::new(waiting.generation));
        }
        match &mut state.running {
            Some(running) if running.generation.id == id => {
                running.cancelled = true;
                running.stop.store(true, Ordering::Relaxed);
                CancelOutcome::Stopping
            }
            _ => CancelOutcome::Absent,
        }
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

    /// Puts a generation back whose cancelling could not be written.
    pub(crate) fn reinsert(&self, generation: QueuedGeneration) {
        let mut state = self.lock();
        state.waiting.insert(generation.id.clone(), Waiting { generation, published_position: None });
        state.publish_positions();
        drop(state);
        self.wake.notify_one();
    }

    /// The number that the next event of a generation will get. Stable for the generation's owner: while it is queued,
    /// only this queue speaks for it, afterwards only the one who took it.
    pub(crate) fn next_event(&self, id: &str) -> u64 {
        self.lock().logs.get(id).map_or(1, |log| log.borrow().next())
    }

    /// Publishes an event of a generation that does not wait. The last one takes the generation out of memory.
    pub(crate) fn publish(&self, id: &str, event: GenerationEvent) {
        let mut state = self.lock();
        let last = event.is_last();
        if let Some(log) = state.logs.get(id) {
            log.send_modify(|log| log.push(event));
        }
        if last {
            // Subscribers keep the channel's value until they have read to its end.
            state.logs.remove(id);
            state.running.take_if(|running| running.generation.id == id);
            state.publish_positions();
        }
        drop(state);
        self.idle.notify_waiters();
    }

    /// Publishes how far the running generation is. `here` counts images made by this run, before this one.
    pub(crate) fn progress(&self, mut progress: Progress, here: u32, timer: &StepTimer) {
        let mut state = self.lock();
        let timing = state.timing;
        let Some(running) = &mut state.running else { return };
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
        let id = running.generation.id.clone();
        if let Some(log) = state.logs.get(&id) {
            log.send_modify(|log| log.push(GenerationEvent::Progress(progress)));
        }
    }

    /// Updates the averages from a finished image.
    pub(crate) fn record_timing(&self, spec: &GenerationSpec, timer: &StepTimer, total: Duration) {
        self.lock().timing.add_measurement(spec, timer, total);
    }

    /// What images cost at the native size.
    pub(crate) fn cost(&self) -> Option<ImageCost> {
        self.lock().timing.native()
    }

    /// Position and expected wait of a generation that waits.
    pub(crate) fn position(&self, id: &str) -> Option<(u32, Option<u64>)> {
        let state = self.lock();
        state.waiting.get(id)?;
        Some(state.position(id))
    }

    /// How far a running generation is, without its preview.
    pub(crate) fn running(&self, id: &str) -> Option<Progress> {
        self.lock().running.as_ref().filter(|running| running.generation.id == id)?.progress.clone()
    }

    /// The log of a generation that waits or runs.
    pub(crate) fn log(&self, id: &str) -> Option<watch::Receiver<Log>> {
        self.lock().logs.get(id).map(watch::Sender::subscribe)
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.lock().closing
    }

    /// Refuses new generations and signals the running one to stop.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        if let Some(running) = &state.running {
            running.stop.store(true, Ordering::Relaxed);
        }
        drop(state);
        self.wake.notify_one();
        self.idle.notify_waiters();
    }

    /// Ends every event stream.
    pub(crate) fn close_streams(&self) {
        self.lock().logs.clear();
    }
}
