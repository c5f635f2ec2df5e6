//! What is kept of the callers of A1111's API between their requests: options that they have set, and their generations
//! that wait or run. Each caller has its own; nobody sees or changes another's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// Most callers that are kept; those that asked longest ago go first.
const MAX_CALLERS: usize = 10_000;

/// Options that have an effect here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Title of the model.
    pub(crate) model: Option<String>,
    pub(crate) clip_skip: Option<u32>,
    /// A1111's `randn_source`.
    pub(crate) noise: Option<String>,
}

/// A generation that waits or runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InWork {
    pub(crate) id: String,
    /// Its newest preview, as `data:image/png;base64,…`.
    pub(crate) preview: Option<String>,
}

#[derive(Debug)]
struct Kept {
    options: Options,
    /// Oldest first.
    active: Vec<InWork>,
    seen: Instant,
}

/// All callers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Callers(Arc<Mutex<HashMap<String, Kept>>>);

/// A generation that waits or runs, until this is dropped.
#[derive(Debug)]
pub(crate) struct Active {
    callers: Callers,
    caller: String,
    id: String,
}

impl Drop for Active {
    fn drop(&mut self) {
        if let Some(kept) = self.callers.lock().get_mut(&self.caller) {
            kept.active.retain(|known| known.id != self.id);
        }
    }
}

impl Active {
    /// Shows how far it is.
    pub(crate) fn show(&self, preview: String) {
        if let Some(kept) = self.callers.lock().get_mut(&self.caller)
            && let Some(known) = kept.active.iter_mut().find(|known| known.id == self.id)
        {
            known.preview = Some(preview);
        }
    }
}

impl Callers {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, caller: &str, change: impl FnOnce(&mut Kept) -> T) -> T {
        let mut all = self.lock();
        if !all.contains_key(caller) && all.len() >= MAX_CALLERS {
            let idle = all.iter().filter(|(_, kept)| kept.active.is_empty());
            let oldest = idle.min_by_key(|(_, kept)| kept.seen).map(|(key, _)| key.clone());
            oldest.map(|key| all.remove(&key));
        }
        let kept = all.entry(caller.to_owned()).or_insert_with(|| Kept {
            options: Options::default(),
            active: Vec::new(),
            seen: Instant::now(),
        });
        kept.seen = Instant::now();
        change(kept)
    }

    /// The options of a caller.
    pub(crate) fn options(&self, caller: &str) -> Options {
        self.lock().get(caller).map(|kept| kept.options.clone()).unwrap_or_default()
    }

    /// Changes them.
    pub(crate) fn set_options(&self, caller: &str, change: impl FnOnce(&mut Options)) {
        self.with(caller, |kept| change(&mut kept.options));
    }

    /// A generation of a caller begins.
    pub(crate) fn begin(&self, caller: &str, id: &str) -> Active {
        self.with(caller, |kept| kept.active.push(InWork { id: id.to_owned(), preview: None }));
        Active { callers: self.clone(), caller: caller.to_owned(), id: id.to_owned() }
    }

    /// A caller's generations that wait or run, oldest first.
    pub(crate) fn active(&self, caller: &str) -> Vec<InWork> {
        self.lock().get(caller).map(|kept| kept.active.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_have_their_own_and_idle_ones_are_forgotten_first() {
        let callers = Callers::default();
        let running = callers.begin("me", "1");
        callers.set_options("me", |options| options.clip_skip = Some(2));
        running.show("data:".to_owned());
        let mine = InWork { id: "1".to_owned(), preview: Some("data:".to_owned()) };
        assert_eq!((callers.active("me"), callers.active("you")), (vec![mine], vec![]));
        assert_eq!(callers.options("you"), Options::default());
        for index in 0..MAX_CALLERS {
            callers.set_options(&format!("{index}"), |options| options.clip_skip = Some(3));
        }
        assert_eq!(callers.lock().len(), MAX_CALLERS);
        assert_eq!(callers.options("me").clip_skip, Some(2), "it has something that runs");
        assert_eq!(callers.options("0"), Options::default(), "it asked longest ago");
        drop(running);
        assert_eq!(callers.active("me"), vec![]);
    }
}
