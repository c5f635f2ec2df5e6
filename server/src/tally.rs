//! How much of something each has at the moment: counted while a mark is held, given back when it is dropped.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

/// Clones count together.
#[derive(Debug)]
pub(crate) struct Tally<K>(Arc<Mutex<HashMap<K, usize>>>);

impl<K> Clone for Tally<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Hash + Eq + Clone> Tally<K> {
    /// One more for `key`; `None` where it has `most` already.
    pub(crate) fn take(&self, key: K, most: usize) -> Option<Mark<K>> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Mark { tally: self.clone(), key })
    }
}

/// One of what is counted.
#[derive(Debug)]
pub(crate) struct Mark<K: Hash + Eq> {
    tally: Tally<K>,
    key: K,
}

impl<K: Hash + Eq> Drop for Mark<K> {
    fn drop(&mut self) {
        let mut counts = self.tally.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_free_again() {
        let tally = Tally::default();
        let held: Vec<_> = (0..3).map(|_| tally.take("a", 3).unwrap()).collect();
        assert!(tally.take("a", 3).is_none());
        assert!(tally.take("b", 3).is_some());
        drop(held);
        assert!(tally.take("a", 3).is_some());
        assert!(tally.0.lock().unwrap().is_empty(), "nothing is kept of who has nothing");
    }
}
