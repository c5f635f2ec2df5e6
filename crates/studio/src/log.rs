//! The events of one generation: a short log inside a `watch` channel. Publishing appends and wakes; each
//! subscriber takes the next event above its own cursor whenever it gets to it. So a slow or vanished
//! subscriber costs one event of memory and never delays anyone, and a late one sees what still matters.

use adire_protocol::{Event, GenerationEvent};
use futures::stream;
use tokio::sync::watch;

use crate::EventStream;

/// Events that a subscriber can still receive. Bounded: one `queued`, one `started`, the images, one `progress`,
/// one last event.
#[derive(Debug)]
pub(crate) struct Log {
    next: u64,
    events: Vec<Event>,
}

impl Log {
    /// A log whose next event has the number `next`; `kept` are earlier ones, oldest first.
    pub(crate) fn new(next: u64, kept: Vec<Event>) -> Self {
        Self { next, events: kept }
    }

    /// The number that the next event gets.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Appends an event and drops the ones it supersedes. Their numbers are not used again.
    pub(crate) fn push(&mut self, event: GenerationEvent) {
        use GenerationEvent::{Progress, Queued};
        self.events.retain(|old| match old.event {
            Queued { .. } => !matches!(event, Queued { .. }),
            // An image or an end says more than how far it was.
            Progress(_) => false,
            _ => true,
        });
        self.events.push(Event { id: self.next, event });
        self.next += 1;
    }

    fn first_after(&self, cursor: u64) -> Option<Event> {
        self.events.iter().find(|event| event.id > cursor).cloned()
    }
}

/// Replays what is above `after`, then follows. Ends after the last event, or when the sender is dropped
/// (the studio shuts down).
pub(crate) fn follow(log: watch::Receiver<Log>, after: u64) -> EventStream {
    Box::pin(stream::unfold(Some((log, after)), |state| async move {
        let (mut log, cursor) = state?;
        loop {
            // The borrow is a read lock: it ends here, before the await below.
            let event = log.borrow_and_update().first_after(cursor);
            if let Some(event) = event {
                let rest = (!event.event.is_last()).then_some((log, event.id));
                return Some((event, rest));
            }
            log.changed().await.ok()?;
        }
    }))
}

/// The events of a generation that has ended.
pub(crate) fn replay(events: Vec<Event>, after: u64) -> EventStream {
    Box::pin(stream::iter(events.into_iter().filter(move |event| event.id > after)))
}
