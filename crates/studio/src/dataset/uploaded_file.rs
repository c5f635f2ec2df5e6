//! Files that were uploaded for a dataset.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use super::names::clean;
use crate::{StudioError, blobs::Blobs, folder};

/// A file on its way into a dataset: on the disk, without a name of its own. Deleted when dropped.
#[derive(Debug)]
pub struct UploadedFile {
    name: String,
    path: PathBuf,
}

impl Drop for UploadedFile {
    fn drop(&mut self) {
        // Nobody needs it any more; what was kept of it is a blob.
        folder::remove(&self.path);
    }
}

impl UploadedFile {
    pub(super) fn create(blobs: &Blobs, name: &str) -> Result<(Self, File), StudioError> {
        let name = Some(clean(name)).filter(|name| !name.is_empty());
        let this =
            Self { name: name.unwrap_or_else(|| "a file without a name".to_owned()), path: blobs.incoming() };
        let file = File::create_new(&this.path).map_err(|error| this.failed(&error))?;
        Ok((this, file))
    }

    /// As it is called, with the folders it lay in.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn failed(&self, error: &std::io::Error) -> StudioError {
        folder::failed(format_args!("{} could not be kept", self.name), error)
    }

    pub(super) fn is_archive(&self) -> bool {
        let lower = self.name.to_lowercase();
        lower.ends_with(".zip")
    }
}
