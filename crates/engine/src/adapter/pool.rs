//! Cache of adapters in memory, so that switching between them reads no files.

use std::{path::Path, sync::Arc};

use super::Adapter;
use crate::Result;

/// Adapters by the hash of their file, at most so many bytes of factors; those used longest ago leave first, pinned ones
/// last.
#[derive(Debug)]
pub struct AdapterPool {
    limit: usize,
    /// The one used last is at the end.
    resident: Vec<Arc<Adapter>>,
    /// Hashes of files that leave only when no other adapter can.
    pinned: Vec<String>,
}

impl AdapterPool {
    /// A pool of at most `limit` bytes. One adapter stays whatever its size: it is in use.
    pub fn new(limit: usize) -> Self {
        Self { limit, resident: Vec::new(), pinned: Vec::new() }
    }

    /// The adapter whose file has this sha256; `path` is read only when it is not resident. If the
    /// file was changed, the hash of the result differs from `hash`: the caller compares.
    ///
    /// # Errors
    /// As [`Adapter::read`].
    pub fn get(&mut self, hash: &str, path: &Path) -> Result<Arc<Adapter>> {
        let adapter = match self.resident.iter().position(|adapter| adapter.hash() == hash) {
            Some(index) => self.resident.remove(index),
            None => Arc::new(Adapter::read(path)?),
        };
        // A changed file must not be cached under the old hash.
        if adapter.hash() == hash {
            self.resident.push(Arc::clone(&adapter));
            while self.resident.len() > 1 && self.bytes() > self.limit {
                // Not the last one: it is about to be used.
                let others = &self.resident[..self.resident.len() - 1];
                let free =
                    others.iter().position(|adapter| !self.pinned.iter().any(|hash| hash == adapter.hash()));
                self.resident.remove(free.unwrap_or_default());
            }
        }
        Ok(adapter)
    }

    /// Keeps the adapters of these files longer than all others, in place of those that were pinned before. They become
    /// resident when they are used.
    pub fn pin(&mut self, hashes: Vec<String>) {
        self.pinned = hashes;
    }

    /// Bytes of all resident factors.
    pub fn bytes(&self) -> usize {
        self.resident.iter().map(|adapter| adapter.bytes()).sum()
    }

    /// How many are resident.
    pub fn len(&self) -> usize {
        self.resident.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.resident.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn file(folder: &Path, name: &str) -> (String, PathBuf) {
        let from = PathBuf::from(format!("tests/goldens/adapters/{name}.safetensors"));
        let path = folder.join(name);
        std::fs::copy(from, &path).unwrap();
        (crate::file_hash(&path).unwrap(), path)
    }

    #[test]
    fn what_was_used_longest_ago_leaves_first() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["kohya", "diffusers", "loha"].map(|name| file(folder.path(), name));
        let sizes = files.each_ref().map(|(_, path)| Adapter::read(path).unwrap().bytes());
        let mut pool = AdapterPool::new(sizes[0] + sizes[1].max(sizes[2]));
        for (hash, path) in [&files[0], &files[1], &files[0], &files[2]] {
            assert_eq!(pool.get(hash, path).unwrap().hash(), hash);
        }
        assert_eq!((pool.len(), pool.bytes()), (2, sizes[0] + sizes[2]));
        for (_, path) in &files {
            std::fs::remove_file(path).unwrap();
        }
        assert!(pool.get(&files[0].0, &files[0].1).is_ok());
        assert!(pool.get(&files[1].0, &files[1].1).is_err());
        assert!(pool.get(&files[2].0, &files[2].1).is_ok());
    }

    #[test]
    fn pinned_ones_leave_last() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["kohya", "diffusers", "loha"].map(|name| file(folder.path(), name));
        let sizes = files.each_ref().map(|(_, path)| Adapter::read(path).unwrap().bytes());
        let mut pool = AdapterPool::new(sizes[0] + sizes[1].max(sizes[2]));
        pool.pin(vec![files[0].0.clone()]);
        for (hash, path) in [&files[0], &files[1], &files[2]] {
            pool.get(hash, path).unwrap();
        }
        std::fs::remove_file(&files[0].1).unwrap();
        assert!(pool.get(&files[0].0, &files[0].1).is_ok(), "used longest ago, and still there");
        // Another one is pinned: the first one leaves as any other.
        pool.pin(vec![files[2].0.clone()]);
        pool.get(&files[2].0, &files[2].1).unwrap();
        pool.get(&files[1].0, &files[1].1).unwrap();
        assert!(pool.get(&files[0].0, &files[0].1).is_err());
    }

    #[test]
    fn one_stays_whatever_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let (hash, path) = file(folder.path(), "kohya");
        let mut pool = AdapterPool::new(0);
        pool.get(&hash, &path).unwrap();
        assert_eq!(pool.len(), 1);
    }

    #[test]
    fn a_changed_file_is_not_kept_under_the_old_hash() {
        let folder = tempfile::tempdir().unwrap();
        let (_, path) = file(folder.path(), "kohya");
        let mut pool = AdapterPool::new(usize::MAX);
        assert_ne!(pool.get(&"0".repeat(64), &path).unwrap().hash(), "0".repeat(64));
        assert!(pool.is_empty());
    }
}
