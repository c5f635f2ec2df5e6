//! Files that clients send, on their way in: on the disk as they come, never whole in memory, and without a name.

use std::{
    fs::File,
    mem,
    path::{Path, PathBuf},
};

use futures::{Stream, StreamExt};
use tokio::io::AsyncWriteExt;

use super::{Blobs, Staged};
use crate::{
    StudioError,
    folder::{self, reason},
    tasks::blocking,
};

/// The most bytes that a file may have, and what to say of a larger one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SizeLimit {
    pub(crate) bytes: u64,
    /// What has this limit: `an image`.
    pub(crate) of: &'static str,
    /// What to do with a larger one, one sentence.
    pub(crate) advice: &'static str,
}

impl SizeLimit {
    fn refuse(&self, what: &str) -> StudioError {
        let Self { bytes, of, advice } = self;
        let size = match bytes >> 30 {
            0 => format!("{} MiB", bytes >> 20),
            gibibytes => format!("{gibibytes} GiB"),
        };
        StudioError::TooLarge(format!("{what} is larger than {size}, the limit for {of}. {advice}"))
    }
}

/// A file on its way in, under a name of its own in the data folder. Deleted when dropped.
#[derive(Debug)]
pub(crate) struct Received(PathBuf);

impl Drop for Received {
    fn drop(&mut self) {
        // Nobody needs it any more; what was kept of it is a blob.
        folder::remove(&self.0);
    }
}

impl Received {
    /// An empty file. Blocks.
    ///
    /// # Errors
    /// It cannot be made; `what`, as in “a.png could not be kept”.
    pub(crate) fn create(blobs: &Blobs, what: &str) -> Result<(Self, File), StudioError> {
        let this = Self(blobs.incoming());
        let file = File::create_new(&this.0).map_err(|error| failed(what, &error))?;
        Ok((this, file))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Blobs {
    /// Writes what comes in pieces to a file of its own, which is deleted with the returned value, or when the caller is
    /// dropped before. `what` names the file in messages, at the beginning of a sentence.
    ///
    /// # Errors
    /// The bytes break off, are more than `limit` takes, or cannot be written.
    pub(crate) async fn receive<B: AsRef<[u8]>, E: std::fmt::Display>(
        &self,
        chunks: impl Stream<Item = Result<B, E>>,
        limit: SizeLimit,
        what: &str,
    ) -> Result<Received, StudioError> {
        let (blobs, name) = (self.clone(), what.to_owned());
        let (received, file) = blocking(move || Received::create(&blobs, &name)).await?;
        let (mut file, mut bytes) = (tokio::fs::File::from_std(file), 0u64);
        let mut chunks = std::pin::pin!(chunks);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| {
                StudioError::Incomplete(format!("{what} was not received completely: {error}."))
            })?;
            bytes += chunk.as_ref().len() as u64;
            if bytes > limit.bytes {
                return Err(limit.refuse(what));
            }
            file.write_all(chunk.as_ref()).await.map_err(|error| failed(what, &error))?;
        }
        file.flush().await.map_err(|error| failed(what, &error))?;
        Ok(received)
    }

    /// Stages a file that was received, without a second copy of it.
    ///
    /// # Errors
    /// It cannot be read, or not synced to the disk.
    pub(crate) async fn stage_received(&self, mut received: Received) -> Result<Staged, StudioError> {
        blocking(move || Staged::adopt(mem::take(&mut received.0))).await
    }

    /// Stages a copy of a file of this machine.
    ///
    /// # Errors
    /// It cannot be read, of which `unreadable` makes an error, or the copy cannot be written.
    pub(crate) async fn stage_file(
        &self,
        path: &Path,
        unreadable: fn(String) -> StudioError,
    ) -> Result<Staged, StudioError> {
        let (blobs, path) = (self.clone(), path.to_owned());
        blocking(move || {
            let file = File::open(&path).map_err(|error| {
                unreadable(format!("{} cannot be read: {}.", path.display(), reason(&error)))
            })?;
            blobs.stage(file)
        })
        .await
    }
}

fn failed(what: &str, error: &std::io::Error) -> StudioError {
    folder::failed(format_args!("{what} could not be kept"), error)
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, stream};

    use super::*;
    use crate::{ErrorKind, blobs::BlobPlace};

    const LIMIT: SizeLimit = SizeLimit { bytes: 4 << 20, of: "a test", advice: "Send less." };

    async fn blobs(folder: &Path) -> Blobs {
        Blobs::open(folder, &BlobPlace::default()).await.unwrap()
    }

    fn incoming(folder: &Path) -> usize {
        std::fs::read_dir(folder.join("blobs/incoming")).unwrap().count()
    }

    #[tokio::test]
    async fn a_received_file_is_staged_with_the_hash_of_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = blobs(folder.path()).await;
        let pieces = stream::iter([Ok::<_, String>("ab"), Ok(""), Ok("c")]);
        let received = blobs.receive(pieces, LIMIT, "The file").await.unwrap();
        let staged = blobs.stage_received(received).await.unwrap();
        // sha256 of “abc”, from FIPS 180-2.
        assert!(staged.hash.starts_with("ba7816bf8f01cfea414140de5dae2223"), "{}", staged.hash);
        assert_eq!((staged.bytes, incoming(folder.path())), (3, 1));
        let hash = blobs.keep(staged).await.unwrap();
        assert_eq!(blobs.read(&hash).await.unwrap().unwrap(), b"abc");
        assert_eq!(incoming(folder.path()), 0);
    }

    #[tokio::test]
    async fn what_is_too_large_breaks_off_or_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = blobs(folder.path()).await;
        let piece = vec![0u8; (2 << 20) + 1];
        let large = stream::iter([Ok::<_, String>(piece.clone()), Ok(piece)]);
        let error = blobs.receive(large, LIMIT, "a.bin").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert_eq!(error.to_string(), "a.bin is larger than 4 MiB, the limit for a test. Send less.");
        let broken = stream::iter([Ok("abc"), Err("the connection ended".to_owned())]);
        let error = blobs.receive(broken, LIMIT, "a.bin").await.unwrap_err();
        assert_eq!(error.to_string(), "a.bin was not received completely: the connection ended.");
        assert_eq!(incoming(folder.path()), 0);

        let endless = stream::iter([Ok::<_, String>("abc")]).chain(stream::pending());
        let mut waiting = Box::pin(blobs.receive(endless, LIMIT, "a.bin"));
        while incoming(folder.path()) == 0 {
            assert!(waiting.as_mut().now_or_never().is_none());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        drop(waiting);
        // One whose opening was under way is removed when that is done.
        for _ in 0..200 {
            if incoming(folder.path()) == 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("a file that nobody waits for stays");
    }
}
