//! What is known of a job beyond its rows.

use std::sync::Arc;

use adire_protocol::{Event, GenerationEvent};

/// Stored events of a job that are kept here, too.
const KEPT: usize = 16;

/// What this node knows of a job beyond its rows: the value of its channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    /// The newest stored event that is known here; 0: none.
    pub(crate) stored: u64,
    /// The number that the next event gets, at least.
    next: u64,
    /// The stored events with numbers above the first field, oldest first, so that streams need not read rows.
    known: Option<(u64, Vec<Arc<Event>>)>,
    /// The newest event that is not stored, unless a stored one supersedes it.
    pub(crate) passing: Option<Event>,
}

impl Live {
    /// A stored event, of which only the number is known here.
    pub(super) fn store(&mut self, number: u64) {
        self.number(number);
        self.known = Some((self.stored, Vec::new()));
    }

    /// A stored event that directly follows the last one known here: no other node can have stored one between them.
    pub(super) fn store_next(&mut self, event: Event) {
        self.number(event.id);
        let Some((above, events)) = &mut self.known else { return };
        if events.len() == KEPT {
            *above = events.remove(0).id;
        }
        events.push(Arc::new(event));
    }

    /// The first stored event of a job.
    pub(super) fn store_first(&mut self, event: Event) {
        self.known = Some((0, Vec::new()));
        self.store_next(event);
    }

    fn number(&mut self, number: u64) {
        self.stored = self.stored.max(number);
        self.next = self.next.max(number + 1);
        self.passing = None;
    }

    /// An event that is not stored.
    pub(super) fn pass(&mut self, event: GenerationEvent) {
        self.passing = Some(Event { id: self.next, event });
        self.next += 1;
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The stored events above `cursor`, where all of them are known here.
    pub(crate) fn known_above(&self, cursor: u64) -> Option<impl Iterator<Item = &Event>> {
        let (above, events) = self.known.as_ref().filter(|(above, _)| *above <= cursor)?;
        debug_assert!(events.iter().all(|event| event.id > *above));
        Some(events.iter().map(Arc::as_ref).filter(move |event| event.id > cursor))
    }

    /// Whether events above `cursor` may be stored: some are known, or another node may have stored them.
    pub(crate) fn may_have_stored(&self, cursor: u64) -> bool {
        self.stored == 0 || self.stored > cursor
    }
}
