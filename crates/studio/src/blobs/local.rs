//! A file of this machine that stays while it is needed.

use std::{
    ops::Deref,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The path of a file; while a clone of it lives, the cache does not remove the file. What maps the file keeps one.
#[derive(Clone, Debug)]
pub struct LocalFile {
    path: PathBuf,
    /// Counted by the cache.
    _hold: Option<Arc<()>>,
}

impl LocalFile {
    pub(super) fn held(path: PathBuf, hold: Arc<()>) -> Self {
        Self { path, _hold: Some(hold) }
    }
}

/// A file that nothing removes.
impl From<PathBuf> for LocalFile {
    fn from(path: PathBuf) -> Self {
        Self { path, _hold: None }
    }
}

impl Deref for LocalFile {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl AsRef<Path> for LocalFile {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl PartialEq for LocalFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for LocalFile {}
