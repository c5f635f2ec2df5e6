//! How much room the data folder's disk has, and the reserve that is kept for results.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::StudioError;

/// The disk of a data folder.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    /// Bytes that only results of running generations and trainings may take.
    reserve: AtomicU64,
}

impl Disk {
    pub(crate) fn new(folder: PathBuf, reserve: u64) -> Self {
        Self { folder, reserve: reserve.into() }
    }

    /// Whether something new may begin to take room: an upload, a generation.
    ///
    /// # Errors
    /// Less is free than the reserve.
    pub(crate) fn check_reserve(&self) -> Result<(), StudioError> {
        // Where it cannot be found out, writing itself will tell.
        match free(&self.folder) {
            Some(free) if free < self.reserve.load(Ordering::Relaxed) => Err(StudioError::LowSpace),
            _ => Ok(()),
        }
    }

    /// From now on so much is kept free.
    #[cfg(test)]
    pub(crate) fn set_reserve(&self, bytes: u64) {
        self.reserve.store(bytes, Ordering::Relaxed);
    }
}

/// Bytes of the whole disk that a folder is on.
#[cfg(unix)]
pub(crate) fn total(folder: &std::path::Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(found.f_blocks.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
pub(crate) fn total(_: &std::path::Path) -> Option<u64> {
    None
}

/// Bytes that this user may still write.
#[cfg(unix)]
fn free(folder: &std::path::Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
fn free(_: &std::path::Path) -> Option<u64> {
    None
}
