//! The channels of jobs, which those who follow them wait on.

use adire_protocol::Event;
use tokio::sync::watch;

use super::{Live, Work};
use crate::StudioError;

impl Work {
    /// A stored event of a job that this node holds.
    pub(crate) fn stored(&self, id: &str, event: Event) {
        if let Some(live) = self.lock().lives.get(id) {
            live.send_modify(|live| live.store_next(event));
        }
    }

    /// The least number that the next event of a job may get: those above were given to what is not stored.
    pub(crate) fn next_event(&self, id: &str) -> u64 {
        self.lock().lives.get(id).map_or(0, |live| live.borrow().next())
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

    /// Whether there is surely a job of that id: it waits or runs here.
    pub(crate) fn follows(&self, id: &str) -> bool {
        self.lock().lives.get(id).is_some_and(|live| live.borrow().stored > 0)
    }

    /// What happens to a job from now on.
    pub(crate) fn subscribe(&self, id: &str) -> Result<watch::Receiver<Live>, StudioError> {
        let mut state = self.lock();
        if state.closing {
            return Err(StudioError::ShuttingDown);
        }
        Ok(state.live(id).subscribe())
    }

    /// Ends every event stream.
    pub(crate) fn close_streams(&self) {
        self.lock().lives.clear();
    }
}
