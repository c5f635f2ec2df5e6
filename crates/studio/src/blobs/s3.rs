//! Blobs in a bucket: how it is opened and checked, and how blobs get in and out.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, WriteMultipart, path::Path as ObjectPath};
use tokio::{fs::File, io::AsyncWriteExt};
use tokio_util::io::ReaderStream;

use super::{
    Blobs, Bucket, Files, Staged,
    cache::Cache,
    errors::{failed, file_failed, is_there, unreadable},
    handle::BlobStream,
    local::LocalFile,
    reach::{check, reach},
    staged,
    verify::verified,
};
use crate::StudioError;

/// Larger files are sent in parts of this size.
const PART: usize = 8 << 20;
/// Parts that are under way at a time.
const PARTS: usize = 4;

/// Opens a bucket and checks that it can be written and read. Gives the store and the prefix of the blobs.
pub(super) async fn open(bucket: &Bucket) -> Result<(Arc<dyn ObjectStore>, ObjectPath), StudioError> {
    let reached = reach(bucket)?;
    reached.within(bucket, check(&reached.store, &reached.prefix)).await?;
    Ok((Arc::new(reached.store), reached.prefix))
}

/// Copies a blob of a bucket into the new file `to`, verified; gives whether there is one of that hash. For commands
/// that only read: nothing is written into the bucket.
///
/// # Errors
/// The bucket cannot be read, the blob is damaged, or `to` cannot be written.
pub async fn download_blob(bucket: &Bucket, hash: &str, to: &Path) -> Result<bool, StudioError> {
    let reached = reach(bucket)?;
    let Some(path) = super::object_path(&reached.prefix, hash) else { return Ok(false) };
    let asked = async {
        match reached.store.get(&path).await {
            Ok(found) => Ok(Some(found)),
            // S3's code for a bucket that is not there tells it from a blob that is not.
            Err(object_store::Error::NotFound { source, .. })
                if !source.to_string().contains("NoSuchBucket") =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    };
    let Some(found) = reached.within(bucket, asked).await? else { return Ok(false) };
    let mut pieces = std::pin::pin!(verified(found.into_stream().map_err(io::Error::other), hash.to_owned()));
    let mut file = File::create(to).await.map_err(|error| file_failed(&error))?;
    while let Some(piece) = pieces.try_next().await.map_err(unreadable)? {
        file.write_all(&piece).await.map_err(|error| file_failed(&error))?;
    }
    file.flush().await.map_err(|error| file_failed(&error))?;
    Ok(true)
}

/// Sends a staged file. One that is there has the same content.
pub(super) async fn upload(
    store: &dyn ObjectStore,
    path: &ObjectPath,
    staged: &Staged,
) -> Result<(), StudioError> {
    if staged.bytes <= PART as u64 {
        let bytes = tokio::fs::read(&staged.path).await.map_err(|error| file_failed(&error))?;
        return match store.put_opts(path, bytes.into(), PutMode::Create.into()).await {
            Err(error) if !is_there(&error) => Err(failed(error)),
            _ => Ok(()),
        };
    }
    match store.head(path).await {
        Ok(_) => return Ok(()),
        Err(object_store::Error::NotFound { .. }) => {}
        Err(error) => return Err(failed(error)),
    }
    let file = File::open(&staged.path).await.map_err(|error| file_failed(&error))?;
    let upload = store.put_multipart(path).await.map_err(failed)?;
    let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
    let mut pieces = ReaderStream::with_capacity(file, 1 << 20);
    let sent = async {
        while let Some(piece) = pieces.next().await {
            upload.wait_for_capacity(PARTS).await.map_err(failed)?;
            upload.put(piece.map_err(|error| file_failed(&error))?);
        }
        Ok(())
    };
    if let Err(error) = sent.await {
        // The service would keep the parts for ever, and charge for them.
        let _ = upload.abort().await;
        return Err(error);
    }
    upload.finish().await.map(drop).map_err(failed)
}

impl Blobs {
    fn cache(&self) -> Option<&Cache> {
        match &self.0.files {
            Files::Cache(cache) => Some(cache),
            Files::Folder { .. } => None,
        }
    }

    /// A blob's content from the bucket, verified, and on its way copied into the cache.
    pub(super) fn fetch(self, hash: String) -> BlobStream {
        let fetched = async move {
            let pieces = self.pieces(&hash).await.map_err(io::Error::other)?;
            let copy = match self.cache() {
                Some(cache) => Copy::create(cache).await.inspect_err(not_copied).ok(),
                None => None,
            };
            io::Result::Ok(self.copied(pieces, hash, copy))
        };
        futures::stream::once(fetched).try_flatten().boxed()
    }

    /// A blob as a file of the cache.
    pub(super) async fn fill(&self, hash: &str) -> Result<LocalFile, StudioError> {
        let missing = || StudioError::Storage("A file of the studio was deleted meanwhile.".to_owned());
        let cache = self.cache().ok_or_else(missing)?;
        let gate = cache.gate(hash);
        let _turn = gate.lock().await;
        if let Some(file) = cache.hold(hash) {
            return Ok(file);
        }
        let mut pieces = std::pin::pin!(self.pieces(hash).await?);
        let mut copy = Copy::create(cache).await.map_err(|error| file_failed(&error))?;
        while let Some(piece) = pieces.try_next().await.map_err(unreadable)? {
            copy.write(&piece).await.map_err(|error| file_failed(&error))?;
        }
        copy.finish(cache, hash).await.map_err(|error| file_failed(&error))
    }

    /// The verified content of a blob of the bucket.
    async fn pieces(
        &self,
        hash: &str,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, StudioError> {
        let missing = || StudioError::Damaged("A file of the studio is missing in its store.".to_owned());
        let path = self.path(hash).ok_or_else(missing)?;
        let found = self.0.store.get(&path).await.map_err(failed)?;
        Ok(verified(found.into_stream().map_err(io::Error::other), hash.to_owned()))
    }

    /// The same pieces, written to the copy as well, which is finished before the last of them is given on: whoever
    /// counts bytes reads no further. A copy that cannot be written is given up, not the blob.
    fn copied(
        self,
        pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        hash: String,
        copy: Option<Copy>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send {
        let state = (Box::pin(pieces), copy, None::<Bytes>);
        futures::stream::try_unfold(Some(state), move |state| {
            let (blobs, hash) = (self.clone(), hash.clone());
            async move {
                let Some((mut pieces, mut copy, mut last)) = state else { return Ok(None) };
                while let Some(piece) = pieces.try_next().await? {
                    if let Some(open) = &mut copy
                        && let Err(error) = open.write(&piece).await
                    {
                        not_copied(&error);
                        copy = None;
                    }
                    if let Some(before) = last.replace(piece) {
                        return Ok(Some((before, Some((pieces, copy, last)))));
                    }
                }
                if let (Some(copy), Some(cache)) = (copy, blobs.cache())
                    && let Err(error) = copy.finish(cache, &hash).await
                {
                    not_copied(&error);
                }
                Ok(last.map(|last| (last, None)))
            }
        })
    }
}

pub(super) fn not_copied(error: &io::Error) {
    tracing::warn!(%error, "a blob was not copied into the cache; it is fetched again");
}

/// A file of the cache that is being written. Removed when dropped unfinished.
struct Copy {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Drop for Copy {
    fn drop(&mut self) {
        // A finished one has another name.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Copy {
    async fn create(cache: &Cache) -> io::Result<Self> {
        let path = staged::place(cache.root());
        let file = File::create_new(&path).await?;
        Ok(Self { path, file, bytes: 0 })
    }

    async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.bytes += piece.len() as u64;
        self.file.write_all(piece).await
    }

    async fn finish(mut self, cache: &Cache, hash: &str) -> io::Result<LocalFile> {
        // Content before name, as in a store.
        self.file.flush().await?;
        self.file.sync_all().await?;
        cache.adopt(hash, &self.path, self.bytes).await
    }
}
