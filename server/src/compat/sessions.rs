//! What is kept of callers of OpenAI's and Gradio's APIs between their requests: which generation a repeated request means,
//! and the events that a Gradio session waits for. In memory: a restart forgets them, and the generations stay.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::{Mutex as AsyncMutex, Notify};

/// Most requests that are remembered, and most sessions; the oldest go first.
const MAX_KEPT: usize = 10_000;
/// Most events of one session that may wait for their stream.
const MAX_EVENTS: usize = 100;
/// How long a request may be repeated.
const REPEATED_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The generation that a request has begun, once it has. Locked while it begins.
pub(crate) type Slot = Arc<AsyncMutex<Option<String>>>;

/// A request that may come again.
#[derive(Debug)]
struct Request {
    digest: String,
    slot: Slot,
    at: Instant,
}

/// What an event of a Gradio session gives.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// Images, by a generation of the same id.
    Generation,
    /// What is there already.
    Ready(Value),
}

/// An event of a Gradio session whose stream has not ended yet.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) outcome: Outcome,
}

/// A Gradio session.
#[derive(Debug)]
struct Session {
    events: Vec<Event>,
    /// Wakes the stream when there are more.
    more: Arc<Notify>,
    at: Instant,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// By caller and key.
    requests: HashMap<(String, String), Request>,
    /// By caller and session hash.
    sessions: HashMap<(String, String), Session>,
}

/// The key has come before with another body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeyReused;

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot of a request. `again`: it says that it is a repetition, so one that is known is meant.
    pub(crate) fn slot(&self, caller: &str, key: &str, digest: &str, again: bool) -> Result<Slot, KeyReused> {
        let mut state = self.lock();
        let name = (caller.to_owned(), key.to_owned());
        let known = state.requests.get(&name).filter(|request| request.at.elapsed() < REPEATED_WITHIN);
        match known {
            Some(known) if again && known.digest == digest => return Ok(known.slot.clone()),
            Some(known) if again && known.digest != digest => return Err(KeyReused),
            _ => {}
        }
        forget_oldest(&mut state.requests, |request| request.at);
        let slot = Slot::default();
        let request = Request { digest: digest.to_owned(), slot: slot.clone(), at: Instant::now() };
        state.requests.insert(name, request);
        Ok(slot)
    }

    /// Adds an event to a caller's session. Whether there was room.
    pub(crate) fn add(&self, caller: &str, session: &str, event: Event) -> bool {
        let mut state = self.lock();
        let name = (caller.to_owned(), session.to_owned());
        if !state.sessions.contains_key(&name) {
            forget_oldest(&mut state.sessions, |session| session.at);
        }
        let session = state.sessions.entry(name).or_insert_with(|| Session {
            events: Vec::new(),
            more: Arc::default(),
            at: Instant::now(),
        });
        session.at = Instant::now();
        if session.events.len() >= MAX_EVENTS {
            return false;
        }
        session.events.push(event);
        session.more.notify_one();
        true
    }

    /// The events of a caller's session, and what wakes when there are more; `None`: no such session.
    pub(crate) fn events(&self, caller: &str, session: &str) -> Option<(Vec<Event>, Arc<Notify>)> {
        let state = self.lock();
        let session = state.sessions.get(&(caller.to_owned(), session.to_owned()))?;
        Some((session.events.clone(), session.more.clone()))
    }

    /// An event has been sent completely. The last one ends the session.
    pub(crate) fn remove(&self, caller: &str, session: &str, event: &str) {
        let mut state = self.lock();
        let name = (caller.to_owned(), session.to_owned());
        if let Some(found) = state.sessions.get_mut(&name) {
            found.events.retain(|known| known.id != event);
            if found.events.is_empty() {
                state.sessions.remove(&name);
            }
        }
    }

    /// Whether one of a caller's sessions has this event.
    pub(crate) fn has_event(&self, caller: &str, event: &str) -> bool {
        let state = self.lock();
        let own = state.sessions.iter().filter(|((known, _), _)| known == caller);
        own.flat_map(|(_, session)| &session.events).any(|known| known.id == event)
    }
}

fn forget_oldest<K: Hash + Eq + Clone, V>(kept: &mut HashMap<K, V>, at: impl Fn(&V) -> Instant) {
    if kept.len() >= MAX_KEPT {
        let oldest = kept.iter().min_by_key(|(_, value)| at(value)).map(|(key, _)| key.clone());
        oldest.map(|key| kept.remove(&key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_request_has_the_slot_of_the_first() {
        let sessions = Sessions::default();
        let first = sessions.slot("me", "key", "a", true).unwrap();
        assert!(Arc::ptr_eq(&first, &sessions.slot("me", "key", "a", true).unwrap()));
        assert!(!Arc::ptr_eq(&first, &sessions.slot("you", "key", "a", true).unwrap()));
        assert_eq!(sessions.slot("me", "key", "b", true).unwrap_err(), KeyReused);
        assert!(!Arc::ptr_eq(&first, &sessions.slot("me", "key", "a", false).unwrap()), "no repetition");
    }

    #[test]
    fn events_belong_to_a_caller_and_a_session() {
        let sessions = Sessions::default();
        let event = |id: &str| Event { id: id.to_owned(), outcome: Outcome::Generation };
        assert!(sessions.add("me", "s", event("1")));
        assert!(sessions.events("me", "s").is_some() && sessions.events("you", "s").is_none());
        assert!(sessions.has_event("me", "1") && !sessions.has_event("you", "1"));
        sessions.remove("me", "s", "1");
        assert!(sessions.events("me", "s").is_none());
        assert!(
            (0..=MAX_EVENTS)
                .map(|id| sessions.add("me", "s", event(&id.to_string())))
                .filter(|it| !it)
                .count()
                == 1
        );
    }
}
