//! Copies of a bucket's blobs on this machine, for what must be a file: at most so many bytes of those that nobody
//! holds. Every copy was verified when it came.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use adire_protocol::is_hash;
use tokio::sync::Mutex as AsyncMutex;

use super::{errors::file_failed, local::LocalFile, staged};
use crate::{StudioError, disk, folder};

/// Most bytes where nothing else is set, and the share of the disk that bounds them.
const MAX_CACHE_BYTES: u64 = 20_000_000_000;
const SHARE: u64 = 10;

/// The copies of one bucket's blobs.
#[derive(Debug)]
pub(super) struct Cache {
    root: PathBuf,
    most: u64,
    /// Held for moments, never across an await; files are removed under it, so that none is handed out that goes.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    clock: u64,
    bytes: u64,
    files: HashMap<String, Entry>,
    filling: HashMap<String, Weak<AsyncMutex<()>>>,
}

#[derive(Debug)]
struct Entry {
    bytes: u64,
    used: u64,
    holders: Weak<()>,
}

impl Cache {
    /// Takes over what an earlier run left, oldest first; half-written files are removed. Blocks.
    pub(super) fn open(root: PathBuf, most: Option<u64>) -> Result<Self, StudioError> {
        staged::clear(&root)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&root).map_err(|error| file_failed(&error))?.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let Some(name) = entry.file_name().to_str().filter(|name| is_hash(name)).map(str::to_owned)
            else {
                continue;
            };
            found.push((metadata.modified().ok(), name, metadata.len()));
        }
        found.sort();
        let mut state = State::default();
        for (_, name, bytes) in found {
            state.insert(name, bytes);
        }
        let share = disk::total(&root).map_or(MAX_CACHE_BYTES, |total| total / SHARE);
        let most = most.unwrap_or(MAX_CACHE_BYTES.min(share));
        let cache = Self { root, most, state: Mutex::new(state) };
        cache.shrink(&mut cache.state());
        Ok(cache)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy that is here; it stays while the result lives.
    pub(super) fn hold(&self, hash: &str) -> Option<LocalFile> {
        self.state().hold(hash).map(|hold| LocalFile::held(self.root.join(hash), hold))
    }

    /// What a filler of this copy holds: one at a time, and the others find it done.
    pub(super) fn gate(&self, hash: &str) -> Arc<AsyncMutex<()>> {
        let mut state = self.state();
        state.filling.retain(|_, gate| gate.strong_count() > 0);
        if let Some(gate) = state.filling.get(hash).and_then(Weak::upgrade) {
            return gate;
        }
        let gate = Arc::default();
        state.filling.insert(hash.to_owned(), Arc::downgrade(&gate));
        gate
    }

    /// Makes a whole, verified and synced file of this folder the copy of a blob.
    pub(super) async fn adopt(&self, hash: &str, path: &Path, bytes: u64) -> io::Result<LocalFile> {
        let copy = self.root.join(hash);
        tokio::fs::rename(path, &copy).await?;
        let mut state = self.state();
        state.insert(hash.to_owned(), bytes);
        let hold = state.hold(hash).unwrap_or_default();
        self.shrink(&mut state);
        Ok(LocalFile::held(copy, hold))
    }

    /// Removes a copy whose blob is deleted.
    pub(super) fn forget(&self, hash: &str) {
        let mut state = self.state();
        if state.files.contains_key(hash) && folder::remove(&self.root.join(hash)) {
            state.remove(hash);
        }
    }

    /// Removes the longest unused copies until the rest is small enough; never one that is held.
    fn shrink(&self, state: &mut State) {
        if state.bytes <= self.most {
            return;
        }
        let free = state.files.iter().filter(|(_, entry)| entry.holders.strong_count() == 0);
        let mut free: Vec<_> = free.map(|(hash, entry)| (entry.used, hash.clone())).collect();
        free.sort();
        for (_, hash) in free {
            if state.bytes <= self.most {
                return;
            }
            // What stays on the disk stays counted.
            if folder::remove(&self.root.join(&hash)) {
                state.remove(&hash);
            }
        }
        if state.bytes > self.most {
            tracing::debug!(bytes = state.bytes, most = self.most, "all blobs of the cache are in use");
        }
    }
}

impl State {
    fn insert(&mut self, hash: String, bytes: u64) {
        self.clock += 1;
        // One that was there had the same content, and may be held.
        let holders = self.files.get(&hash).map(|entry| entry.holders.clone()).unwrap_or_default();
        self.remove(&hash);
        self.bytes += bytes;
        self.files.insert(hash, Entry { bytes, used: self.clock, holders });
    }

    fn remove(&mut self, hash: &str) {
        self.bytes -= self.files.remove(hash).map_or(0, |entry| entry.bytes);
    }

    fn hold(&mut self, hash: &str) -> Option<Arc<()>> {
        self.clock += 1;
        let entry = self.files.get_mut(hash)?;
        entry.used = self.clock;
        let hold = entry.holders.upgrade().unwrap_or_default();
        entry.holders = Arc::downgrade(&hold);
        Some(hold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(cache: &Cache) -> Vec<String> {
        let entries = fs::read_dir(cache.root()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| is_hash(name));
        names
            .iter()
            .map(|name| name[..1].to_owned())
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    async fn adopt(cache: &Cache, digit: &str, bytes: usize) -> LocalFile {
        let path = staged::place(cache.root());
        fs::write(&path, vec![7; bytes]).unwrap();
        cache.adopt(&digit.repeat(64), &path, bytes as u64).await.unwrap()
    }

    #[tokio::test]
    async fn a_copy_that_cannot_be_deleted_stays_counted() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("cache"), Some(150)).unwrap();
        drop(adopt(&cache, "1", 100).await);
        // A folder in its place: `remove_file` refuses it, even for root.
        let copy = cache.root().join("1".repeat(64));
        fs::remove_file(&copy).unwrap();
        fs::create_dir(&copy).unwrap();
        drop(adopt(&cache, "2", 100).await);
        cache.forget(&"1".repeat(64));
        assert_eq!(cache.state().bytes, 200);
        fs::remove_dir(&copy).unwrap();
        cache.forget(&"1".repeat(64));
        assert_eq!(cache.state().bytes, 100);
    }

    #[tokio::test]
    async fn the_longest_unused_copy_that_nobody_holds_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path().join("cache"), Some(300)).unwrap();
        let first = adopt(&cache, "1", 100).await;
        for digit in ["2", "3"] {
            adopt(&cache, digit, 100).await;
        }
        drop(cache.hold(&"2".repeat(64)).unwrap());
        adopt(&cache, "4", 100).await;
        assert_eq!(names(&cache), ["1", "2", "4"], "1 is held, 3 was not used since");
        // Held ones may pass the bound.
        let second = cache.hold(&"2".repeat(64)).unwrap();
        let big = adopt(&cache, "5", 250).await;
        assert_eq!(names(&cache), ["1", "2", "5"]);
        assert!(first.is_file() && second.is_file() && big.is_file());
        drop((first, second, big));
        adopt(&cache, "6", 10).await;
        assert_eq!(names(&cache), ["5", "6"]);
        cache.forget(&"5".repeat(64));
        assert_eq!(names(&cache), ["6"]);
        // The next start knows them, and a smaller bound holds at once.
        fs::write(staged::place(cache.root()), "half").unwrap();
        drop(cache);
        let cache = Cache::open(folder.path().join("cache"), Some(20)).unwrap();
        assert!(cache.hold(&"6".repeat(64)).is_some());
        assert_eq!(fs::read_dir(cache.root().join("incoming")).unwrap().count(), 0);
        let cache = Cache::open(folder.path().join("cache"), Some(5)).unwrap();
        assert!(cache.hold(&"6".repeat(64)).is_none() && names(&cache).is_empty());
    }
}
