//! The jobs that this node holds: claimed, run, let go.

use std::sync::Arc;

use adire_protocol::{Event, GenerationEvent};

use super::{Hold, QueuedGeneration, Stop, Work, state::Running};
use crate::job::{Asked, Claimed};

impl Work {
    /// A job has been claimed.
    pub(crate) fn hold(&self, claimed: &Claimed) -> Arc<Hold> {
        let hold = Arc::new(Hold::new(claimed.lease.clone()));
        let mut state = self.lock();
        if state.closing {
            hold.stop(Stop::Closing);
        }
        state.held.insert(claimed.lease.job.clone(), hold.clone());
        let event = Event { id: claimed.event(), event: GenerationEvent::Started };
        state.live(&claimed.lease.job).send_modify(|live| match claimed.lease.number {
            1 => live.store_next(event),
            // Somebody has held it before, and may have stored events.
            _ => live.store(event.id),
        });
        hold
    }

    /// A generation that was claimed does not wait any more; what is known of it, unless it has not been put here yet.
    pub(crate) fn take_out(&self, id: &str) -> Option<QueuedGeneration> {
        let mut state = self.lock();
        let generation = state.remove(id).map(|waiting| waiting.generation);
        if generation.is_none() {
            state.early.insert(id.to_owned());
        }
        generation
    }

    /// Its images are being made from now on.
    pub(crate) fn started(&self, generation: QueuedGeneration, wants: &str) {
        let mut state = self.lock();
        state.resident = Some(wants.to_owned());
        state.running.push(Running { generation, progress: None, remaining: None });
        state.publish_positions();
    }

    /// This node has nothing to do with a job any more: it has ended, or somebody else has it. `number`: that of the last
    /// event, where it was stored; `event`: what it says, stored or not, where that is known. People who watch should not
    /// wait for ever.
    pub(crate) fn let_go(&self, id: &str, number: Option<u64>, event: Option<GenerationEvent>) {
        let mut state = self.lock();
        state.held.remove(id);
        // Where it was not begun, it still waits here.
        state.remove(id);
        state.running.retain(|running| running.generation.id != id);
        if let Some(live) = state.lives.get(id) {
            live.send_modify(|live| match (number, event) {
                (Some(id), Some(event)) => live.store_next(Event { id, event }),
                (Some(number), None) => live.store(number),
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

    /// A job that nobody held has ended, or is put aside.
    pub(crate) fn withdraw(&self, id: &str, event: u64) {
        self.let_go(id, Some(event), None);
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

    /// Every job that this node holds.
    pub(crate) fn held(&self) -> Vec<Arc<Hold>> {
        self.lock().held.values().cloned().collect()
    }

    /// Whether this node still holds it.
    pub(crate) fn holds(&self, hold: &Arc<Hold>) -> bool {
        self.lock().held.get(&hold.lease.job).is_some_and(|held| Arc::ptr_eq(held, hold))
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
        self.wake_off_device.notify_one();
    }
}
