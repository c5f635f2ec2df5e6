//! Files of the newest images, in memory, so that a request that waits for its image does not read it from the disk.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;

/// Most bytes of them.
const MAX_RECENT_BYTES: usize = 16 << 20;

#[derive(Debug, Default)]
pub(crate) struct RecentFiles(Mutex<VecDeque<(String, Bytes)>>);

impl RecentFiles {
    /// Keeps a file by its hash, and forgets the oldest ones.
    pub(crate) fn keep(&self, hash: &str, file: Bytes) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.push_back((hash.to_owned(), file));
        while files.iter().map(|(_, file)| file.len()).sum::<usize>() > MAX_RECENT_BYTES {
            files.pop_front();
        }
    }

    /// `None`: it is not among the newest.
    pub(crate) fn get(&self, hash: &str) -> Option<Bytes> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter().rev().find(|(known, _)| known == hash).map(|(_, file)| file.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let recent = RecentFiles::default();
        for name in ["a", "b", "c"] {
            recent.keep(name, vec![0; MAX_RECENT_BYTES / 2].into());
        }
        assert_eq!(recent.get("a"), None);
        assert_eq!(recent.get("c").map(|file| file.len()), Some(MAX_RECENT_BYTES / 2));
        recent.keep("d", vec![0; MAX_RECENT_BYTES + 1].into());
        assert_eq!((recent.get("c"), recent.get("d")), (None, None));
    }
}
