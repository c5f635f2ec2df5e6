//! What is known of a job beyond its rows.

use adire_protocol::{Event, GenerationEvent};

/// What this node knows of a job beyond its rows: the value of its channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    /// The newest stored event that is known here; 0: none.
    pub(crate) stored: u64,
    /// The number that the next event gets, at least.
    next: u64,
    /// The newest event that is not stored, unless a stored one supersedes it.
    pub(crate) passing: Option<Event>,
}

impl Live {
    /// A stored event.
    pub(super) fn store(&mut self, number: u64) {
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

    /// Whether events above `cursor` may be stored: some are known, or another node may have stored them.
    pub(crate) fn may_have_stored(&self, cursor: u64) -> bool {
        self.stored == 0 || self.stored > cursor
    }
}
