//! What is kept of callers of OpenAI's and Gradio's APIs between their requests: which generation a repeated request means,
//! and the events that a Gradio session waits for. In memory: a restart forgets them, and the generations stay.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Mutex as AsyncMutex, Notify};

/// Most requests that are remembered, and most sessions; the oldest go first.
const MAX_KEPT: usize = 10_000;
/// Most events of one session that may wait for their stream.
const MAX_EVENTS: usize = 100;
/// How long a request may be repeated.
const REPEATED_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);
/// Most identical requests of a caller that are kept apart; the oldest go first.
const MAX_ALIKE: usize = 64;
/// How long a session is kept of which nothing is read.
const IDLE: Duration = Duration::from_secs(5 * 60);

/// A request, which its repetitions join.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// The generation that it has begun, once it has. Locked while it begins.
    pub(crate) generation: AsyncMutex<Option<String>>,
    /// How often it has been repeated.
    retries: AtomicU32,
    /// Whether it has been answered, so that a repetition is hardly its own.
    answered: AtomicBool,
}

impl Slot {
    /// It has been answered.
    pub(crate) fn answer(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }
}

/// How a request is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeated {
    /// By a key of its own: all with it are one.
    ByKey,
    /// By what it holds, where it says that it has come so often before. Several may be alike.
    Times(u32),
}

/// Requests that may come again: one of a key, or all that are alike, oldest first.
#[derive(Debug)]
struct Request {
    digest: String,
    slots: Vec<Arc<Slot>>,
    at: Instant,
}

/// What an event of a Gradio session gives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// Images, by a generation of the same id.
    Generation,
    /// The list of adapters, read when it is sent.
    Adapters,
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
    /// When something was last added or read.
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

    /// The slot of a request. A repetition has that of the request that it repeats, as far as one can tell: of those that
    /// have come less often, one that has not been answered, the newest. No two like repetitions have the same.
    pub(crate) fn slot(
        &self,
        caller: &str,
        key: &str,
        digest: &str,
        repeated: Repeated,
    ) -> Result<Arc<Slot>, KeyReused> {
        let mut state = self.lock();
        let name = (caller.to_owned(), key.to_owned());
        if state.requests.get(&name).is_some_and(|request| request.at.elapsed() >= REPEATED_WITHIN) {
            state.requests.remove(&name);
        }
        if !state.requests.contains_key(&name) {
            forget_oldest(&mut state.requests, |request| request.at);
        }
        let request = state.requests.entry(name).or_insert_with(|| Request {
            digest: digest.to_owned(),
            slots: Vec::new(),
            at: Instant::now(),
        });
        if request.digest != digest {
            return Err(KeyReused);
        }
        let retries = match repeated {
            Repeated::ByKey => {
                if request.slots.is_empty() {
                    request.slots.push(Arc::default());
                }
                return Ok(request.slots[0].clone());
            }
            Repeated::Times(retries) => retries,
        };
        request.at = Instant::now();
        let open = request.slots.iter().filter(|slot| slot.retries.load(Ordering::Relaxed) < retries);
        // The last of equal ones, which is the newest.
        let rank = |slot: &&Arc<Slot>| {
            (!slot.answered.load(Ordering::Relaxed), slot.retries.load(Ordering::Relaxed))
        };
        let known = open.max_by_key(rank).cloned();
        let slot = known.unwrap_or_else(|| {
            let slot = Arc::<Slot>::default();
            request.slots.push(slot.clone());
            if request.slots.len() > MAX_ALIKE {
                request.slots.remove(0);
            }
            slot
        });
        slot.retries.store(retries, Ordering::Relaxed);
        Ok(slot)
    }

    /// Adds an event to a caller's session. Whether there was room.
    pub(crate) fn add(&self, caller: &str, session: &str, event: Event) -> bool {
        let mut state = self.lock();
        let name = (caller.to_owned(), session.to_owned());
        state.sessions.retain(|_, session| session.at.elapsed() < IDLE);
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

    /// The events of a caller's session, and what wakes when there are more; `None`: no such session. A reader
    /// asks again before it counts as idle.
    pub(crate) fn events(&self, caller: &str, session: &str) -> Option<(Vec<Event>, Arc<Notify>)> {
        let mut state = self.lock();
        let session = state.sessions.get_mut(&(caller.to_owned(), session.to_owned()))?;
        session.at = Instant::now();
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
        let slot = |caller, digest| sessions.slot(caller, "key", digest, Repeated::ByKey);
        let first = slot("me", "a").unwrap();
        assert!(Arc::ptr_eq(&first, &slot("me", "a").unwrap()));
        assert!(!Arc::ptr_eq(&first, &slot("you", "a").unwrap()));
        assert_eq!(slot("me", "b").unwrap_err(), KeyReused);
    }

    #[test]
    fn each_of_several_like_requests_has_its_own_repetition() {
        let sessions = Sessions::default();
        let slot = |times| sessions.slot("me", "body", "a", Repeated::Times(times)).unwrap();
        let is_one_of =
            |slot: &Arc<Slot>, all: &[&Arc<Slot>]| all.iter().any(|known| Arc::ptr_eq(slot, known));
        let (first, second) = (slot(0), slot(0));
        assert!(!Arc::ptr_eq(&first, &second));
        for times in [1, 2] {
            let (one, other) = (slot(times), slot(times));
            assert!(is_one_of(&one, &[&first, &second]) && is_one_of(&other, &[&first, &second]));
            assert!(!Arc::ptr_eq(&one, &other), "{times}");
        }
        assert!(!is_one_of(&slot(2), &[&first, &second]), "a third one");
        let (lost, answered) = (slot(0), slot(0));
        answered.answer();
        assert!(Arc::ptr_eq(&slot(1), &lost), "the one without an answer");
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
