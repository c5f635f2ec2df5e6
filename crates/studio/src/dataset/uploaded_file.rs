//! Files that an admin uploaded.

use std::{fs::File, path::Path};

use futures::Stream;

use super::names::clean;
use crate::{
    StudioError,
    blobs::{Blobs, Received, SizeLimit},
};

/// A file that was uploaded: on the disk, called as its sender called it. Deleted when dropped.
#[derive(Debug)]
pub struct UploadedFile {
    name: String,
    received: Received,
}

impl UploadedFile {
    /// An empty one, to be written to. Blocks.
    pub(super) fn create(blobs: &Blobs, name: &str) -> Result<(Self, File), StudioError> {
        let name = shown(name);
        let (received, file) = Received::create(blobs, &name)?;
        Ok((Self { name, received }, file))
    }

    /// Receives a file as its bytes come.
    ///
    /// # Errors
    /// The bytes break off, are more than `limit` takes, or cannot be written.
    pub(crate) async fn receive<B: AsRef<[u8]>, E: std::fmt::Display>(
        blobs: &Blobs,
        name: &str,
        chunks: impl Stream<Item = Result<B, E>>,
        limit: SizeLimit,
    ) -> Result<Self, StudioError> {
        let name = shown(name);
        let received = blobs.receive(chunks, limit, &name).await?;
        Ok(Self { name, received })
    }

    /// As it is called, with the folders it lay in.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> &Path {
        self.received.path()
    }

    pub(crate) fn into_received(self) -> Received {
        self.received
    }

    pub(super) fn is_archive(&self) -> bool {
        let lower = self.name.to_lowercase();
        lower.ends_with(".zip")
    }
}

fn shown(name: &str) -> String {
    Some(clean(name)).filter(|name| !name.is_empty()).unwrap_or_else(|| "a file without a name".to_owned())
}
