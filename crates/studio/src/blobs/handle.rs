//! A blob that was found: its length, its content piece by piece, a part of it, a file.

use std::{fmt, fs, io, ops::Range, sync::PoisonError};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
};
use tokio_util::io::ReaderStream;

use super::{
    Blobs, Files,
    errors::{file_failed, unreadable},
    local::LocalFile,
    verify::{collect, read_verified, verified, verify_file},
};
use crate::{StudioError, tasks::blocking};

/// Bytes that are read from a file at a time.
const PIECE: usize = 1 << 20;

/// The content of a blob or a part of it. A damaged blob ends in an error instead of its last piece.
pub type BlobStream = BoxStream<'static, io::Result<Bytes>>;

/// A blob that exists. It can be read to its end even when it is deleted meanwhile.
pub struct Blob {
    blobs: Blobs,
    hash: String,
    size: u64,
    content: Content,
}

enum Content {
    File {
        opened: File,
        path: LocalFile,
    },
    /// In the bucket only.
    Remote,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("hash", &self.hash).field("size", &self.size).finish_non_exhaustive()
    }
}

impl Blob {
    /// Opens a file; `None` when it does not exist.
    pub(super) async fn open(blobs: Blobs, hash: &str, path: LocalFile) -> Result<Option<Self>, StudioError> {
        let at = path.clone();
        let found = blocking(move || {
            let found = fs::File::open(&at).and_then(|file| Ok((file.metadata()?.len(), file)));
            match found {
                Ok(found) => Ok(Some(found)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(file_failed(&error)),
            }
        });
        let Some((size, opened)) = found.await? else { return Ok(None) };
        let content = Content::File { opened: File::from_std(opened), path };
        Ok(Some(Self { blobs, hash: hash.to_owned(), size, content }))
    }

    pub(super) fn remote(blobs: Blobs, hash: &str, size: u64) -> Self {
        Self { blobs, hash: hash.to_owned(), size, content: Content::Remote }
    }

    /// The sha256 that names it, 64 hex digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// All of it, verified on the way.
    pub fn stream(self) -> BlobStream {
        match self.content {
            Content::File { opened, path } => {
                // The path holds the file for as long as it is read.
                let pieces = ReaderStream::with_capacity(opened, PIECE).map(move |piece| {
                    let _held = &path;
                    piece
                });
                verified(pieces, self.hash).boxed()
            }
            Content::Remote => self.blobs.fetch(self.hash),
        }
    }

    /// The bytes of `range`, which must lie within its length. They cannot be verified alone, so the whole blob is
    /// first.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub async fn range(self, range: Range<u64>) -> Result<BlobStream, StudioError> {
        let path = self.into_local().await?;
        let mut file = File::open(&path).await.map_err(|error| file_failed(&error))?;
        file.seek(io::SeekFrom::Start(range.start)).await.map_err(|error| file_failed(&error))?;
        let part = file.take(range.end.saturating_sub(range.start));
        let pieces = ReaderStream::with_capacity(part, PIECE).map(move |piece| {
            let _held = &path;
            piece
        });
        Ok(pieces.boxed())
    }

    /// All of it at once.
    pub async fn bytes(self) -> Result<Vec<u8>, StudioError> {
        let (hash, size) = (self.hash, self.size);
        match self.content {
            Content::File { opened, path } => {
                let file = opened.into_std().await;
                blocking(move || {
                    let _held = path;
                    read_verified(file, size, &hash).map_err(unreadable)
                })
                .await
            }
            Content::Remote => collect(self.blobs.fetch(hash), size).await.map_err(unreadable),
        }
    }

    /// A verified file of this machine.
    pub(super) async fn into_local(self) -> Result<LocalFile, StudioError> {
        match self.content {
            Content::File { path, .. } => {
                self.blobs.verify_once(self.hash, path.clone()).await?;
                Ok(path)
            }
            Content::Remote => self.blobs.fill(&self.hash).await,
        }
    }
}

impl Blobs {
    /// Verifies a file of the folder, the first time it is handed out. Those of the cache were when they came.
    async fn verify_once(&self, hash: String, path: LocalFile) -> Result<(), StudioError> {
        let Files::Folder { verified, .. } = &self.0.files else { return Ok(()) };
        if verified.lock().unwrap_or_else(PoisonError::into_inner).contains(&hash) {
            return Ok(());
        }
        let of = hash.clone();
        blocking(move || verify_file(&path, &of).map_err(|error| file_failed(&error))).await?;
        verified.lock().unwrap_or_else(PoisonError::into_inner).insert(hash);
        Ok(())
    }
}
