//! Whose turn it is to have an image decoded.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::{StudioError, client::Who};

/// Most uploads that are decoded at a time; each may take a few hundred megabytes for a moment.
const DECODERS: usize = 2;
/// Most uploads of one network that are decoded or wait for it.
const IN_LINE_OF_ONE: usize = 4;
/// Most uploads that are decoded or wait for it.
const IN_LINE: usize = 32;

/// Lets uploads be decoded one at a time for each network, a few in all. Who waits has its bytes in a
/// file, not in memory.
pub(crate) struct Decoders {
    all: Arc<Semaphore>,
    lines: Mutex<HashMap<String, Line>>,
}

/// Those of one network that wait or are at work.
#[derive(Default)]
struct Line {
    turn: Arc<AsyncMutex<()>>,
    length: usize,
}

/// A place in the line of a network; given back when dropped.
pub(crate) struct Place<'a> {
    decoders: &'a Decoders,
    who: String,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lines = self.decoders.lines();
        if let Some(line) = lines.get_mut(&self.who) {
            line.length -= 1;
            if line.length == 0 {
                lines.remove(&self.who);
            }
        }
    }
}

impl Default for Decoders {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(DECODERS)), lines: Mutex::default() }
    }
}

impl Decoders {
    fn lines(&self) -> MutexGuard<'_, HashMap<String, Line>> {
        // Held for a look at the map; nothing that holds it panics.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits in line before anything is received.
    ///
    /// # Errors
    /// Too many wait already, of this network or in all.
    pub(crate) fn line_up(&self, who: &Who) -> Result<Place<'_>, StudioError> {
        let who = who.network.clone().or_else(|| who.visitor.clone()).unwrap_or_default();
        let mut lines = self.lines();
        let all: usize = lines.values().map(|line| line.length).sum();
        let mine = lines.get(&who).map_or(0, |line| line.length);
        if all >= IN_LINE || mine >= IN_LINE_OF_ONE {
            return Err(StudioError::Busy);
        }
        lines.entry(who.clone()).or_default().length += 1;
        drop(lines);
        Ok(Place { decoders: self, who })
    }
}

/// The turn itself, until it is dropped. Work that cannot be stopped keeps it to its end.
pub(crate) struct Turn {
    _own: OwnedMutexGuard<()>,
    _all: OwnedSemaphorePermit,
}

impl Place<'_> {
    /// Waits for the turn.
    pub(crate) async fn turn(&self) -> Result<Turn, StudioError> {
        let turn = self.decoders.lines().get(&self.who).map(|line| line.turn.clone()).unwrap_or_default();
        let own = turn.lock_owned().await;
        // In the common line there is one of each network at most. Never closed.
        let all = self.decoders.all.clone().acquire_owned().await.map_err(|_| StudioError::ShuttingDown)?;
        Ok(Turn { _own: own, _all: all })
    }
}
