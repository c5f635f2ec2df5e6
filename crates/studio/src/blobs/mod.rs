//! Blobs: files named by the sha256 of their content, in a local folder (`ab/cd…`) or in an S3 bucket. Both are an
//! [`ObjectStore`]; what differs is where a file for the engine comes from: the folder's own, or a copy in the `cache`.
//!
//! A blob is written before its row and removed after it. From the first to the second its writer holds
//! [`Blobs::keeping`], so that garbage collection does not take it for an orphan.

mod cache;
mod errors;
mod handle;
mod local;
mod place;
mod reach;
mod receive;
mod s3;
mod staged;
mod verify;

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use adire_protocol::is_hash;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, local::LocalFileSystem, path::Path as ObjectPath};
use sha2::{Digest, Sha256};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, oneshot};

use errors::{again, failed, is_there, unreadable};
pub use handle::{Blob, BlobStream};
pub use local::LocalFile;
pub use place::Bucket;
pub(crate) use receive::{Received, SizeLimit};
pub use s3::download_blob;
pub(crate) use staged::Staged;

use crate::{StudioError, folder::BLOBS, tasks::blocking, time::milliseconds};

/// Where copies of a bucket's blobs lie in the data folder.
const CACHE: &str = "blob-cache";
/// Names the database that the blobs belong to.
const OWNER: &str = ".adire-owner";

/// Blobs that are read or written at a time where many are needed.
const FETCHES: usize = 8;

/// A blob as a file, if there is one of that name.
pub(crate) type Local = Result<Option<LocalFile>, StudioError>;

/// Where a studio's blobs are.
#[derive(Clone, Debug, Default)]
pub struct BlobPlace {
    /// The bucket; `None`: `blobs` in the data folder.
    pub bucket: Option<Bucket>,
    /// Most bytes of the bucket's blobs that are kept in the data folder; `None`: 20 GB, at most a tenth of the disk.
    pub cache: Option<u64>,
}

/// Content that is being put.
pub(crate) struct Made<T> {
    pub(crate) hash: String,
    pub(crate) bytes: Bytes,
    /// What was made with it.
    pub(crate) with: T,
    /// Ends when the content is on the disk, or in the bucket.
    pub(crate) kept: BoxFuture<'static, Result<(), StudioError>>,
}

/// The blobs of a studio; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Blobs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    files: Files,
    keeping: RwLock<()>,
}

/// Where blobs are as files.
#[derive(Debug)]
enum Files {
    /// In the store itself. Those in the set were read once and had the right hash.
    Folder {
        root: PathBuf,
        verified: Mutex<HashSet<String>>,
    },
    Cache(cache::Cache),
}

impl Blobs {
    /// Opens the blobs and removes what a crash left half-written. Only the holder of the data folder's lock may call
    /// this.
    pub(crate) async fn open(data: &Path, place: &BlobPlace) -> Result<Self, StudioError> {
        match &place.bucket {
            None => Self::open_folder(data.join(BLOBS)).await,
            Some(bucket) => Self::open_bucket(data.join(CACHE), bucket, place.cache).await,
        }
    }

    async fn open_folder(root: PathBuf) -> Result<Self, StudioError> {
        let folder = root.clone();
        let prepare = move || {
            staged::clear(&folder)?;
            staged::make_folders(&folder)
        };
        blocking(prepare).await?;
        // Its default is not to wait for the disk.
        let store = LocalFileSystem::new_with_prefix(&root).map_err(failed)?.with_fsync(true);
        let files = Files::Folder { root, verified: Mutex::default() };
        Ok(Self::new(Arc::new(store), ObjectPath::default(), files))
    }

    async fn open_bucket(root: PathBuf, bucket: &Bucket, most: Option<u64>) -> Result<Self, StudioError> {
        let (store, prefix) = s3::open(bucket).await?;
        let cache = blocking(move || cache::Cache::open(root, most)).await?;
        Ok(Self::new(store, prefix, Files::Cache(cache)))
    }

    fn new(store: Arc<dyn ObjectStore>, prefix: ObjectPath, files: Files) -> Self {
        Self(Arc::new(Inner { store, prefix, files, keeping: RwLock::default() }))
    }

    /// Held from the moment a blob is written until its row is there.
    pub(crate) async fn keeping(&self) -> RwLockReadGuard<'_, ()> {
        self.0.keeping.read().await
    }

    /// Held while blobs are removed that no row needs: the same content may come again just then.
    pub(crate) async fn removing(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.keeping.write().await
    }

    /// Writes bytes and gives their hash. On return they are on the disk, or in the bucket.
    pub(crate) async fn put(&self, bytes: impl Into<Bytes>) -> Result<String, StudioError> {
        let (blobs, bytes) = (self.clone(), bytes.into());
        let put = move || {
            let (blobs, bytes) = (blobs.clone(), bytes.clone());
            async move {
                let stager = blobs.clone();
                match &blobs.0.files {
                    Files::Folder { .. } => blocking(move || stager.name(&stager.stage(&*bytes)?)).await,
                    Files::Cache(_) => blobs.keep(blocking(move || stager.stage(&*bytes)).await?).await,
                }
            }
        };
        again(put).await
    }

    /// Has content made on a thread that may block, and gives it as soon as it is made. In a folder that thread writes it
    /// meanwhile: what names the content waits for [`Made::kept`]. In a bucket it is there on return.
    pub(crate) async fn put_made<T: Send + 'static>(
        &self,
        make: impl FnOnce() -> Result<(Bytes, T), StudioError> + Send + 'static,
    ) -> Result<Made<T>, StudioError> {
        let (blobs, (tell, made)) = (self.clone(), oneshot::channel());
        let work = blocking(move || {
            let (bytes, with) = make()?;
            let hash = hex::encode(Sha256::digest(&bytes));
            // Nobody waits any more: then nothing will name it.
            if tell.send((hash.clone(), bytes.clone(), with)).is_err() {
                return Ok(());
            }
            match &blobs.0.files {
                Files::Folder { .. } => blobs.write(hash, &bytes),
                Files::Cache(_) => Ok(()),
            }
        });
        let Ok((hash, bytes, with)) = made.await else {
            work.await?;
            return Err(StudioError::ShuttingDown);
        };
        if matches!(self.0.files, Files::Cache(_)) {
            self.put(bytes.clone()).await?;
        }
        let (mut first, name, content) = (Some(work), hash.clone(), bytes.clone());
        let blobs = self.clone();
        let keep = move || {
            let first = first.take();
            let (blobs, hash, bytes) = (blobs.clone(), name.clone(), content.clone());
            async move {
                match first {
                    Some(first) => first.await,
                    None => blocking(move || blobs.write(hash, &bytes)).await,
                }
            }
        };
        Ok(Made { hash, bytes, with, kept: again(keep).boxed() })
    }

    /// Writes content whose hash is known into the folder of this machine. Blocks.
    fn write(&self, hash: String, bytes: &[u8]) -> Result<(), StudioError> {
        self.name(&Staged::whole(self.incoming(), hash, bytes)?).map(drop)
    }

    /// Gives a staged file its name in the folder of this machine. Blocks.
    fn name(&self, staged: &Staged) -> Result<String, StudioError> {
        staged.move_to(&file_path(self.root(), &staged.hash))?;
        Ok(staged.hash.clone())
    }

    /// Writes what `from` gives into a file of its own, synced to the disk. Blocks.
    pub(crate) fn stage(&self, from: impl io::Read) -> Result<Staged, StudioError> {
        Staged::write(self.incoming(), from)
    }

    /// Where a file on its way in may be written; nothing is there yet.
    pub(crate) fn incoming(&self) -> PathBuf {
        staged::place(self.root())
    }

    /// The folder of this machine.
    fn root(&self) -> &Path {
        match &self.0.files {
            Files::Folder { root, .. } => root,
            Files::Cache(cache) => cache.root(),
        }
    }

    /// Gives a staged file its name.
    pub(crate) async fn keep(&self, staged: Staged) -> Result<String, StudioError> {
        let path = self.path(&staged.hash);
        let path = path.ok_or_else(|| StudioError::Storage(format!("{} is not a sha256.", staged.hash)))?;
        match &self.0.files {
            Files::Folder { .. } => {
                let blobs = self.clone();
                return blocking(move || blobs.name(&staged)).await;
            }
            Files::Cache(cache) => {
                s3::upload(self.0.store.as_ref(), &path, &staged).await?;
                // The upload is what counts; a copy that cannot be kept is fetched when it is needed.
                if let Err(error) = cache.adopt(&staged.hash, &staged.path, staged.bytes).await {
                    s3::not_copied(&error);
                }
            }
        }
        Ok(staged.hash.clone())
    }

    /// As [`Self::keep`], several at a time.
    pub(crate) fn keep_all(&self, staged: Vec<Staged>) -> BoxFuture<'static, Result<(), StudioError>> {
        let blobs = self.clone();
        let keep = move |file| {
            let blobs = blobs.clone();
            async move { blobs.keep(file).await.map(drop) }
        };
        let kept = futures::stream::iter(staged).map(keep).buffer_unordered(FETCHES);
        kept.try_collect().boxed()
    }

    /// A blob to be read; `None` when there is none of that name.
    pub(crate) async fn get(&self, hash: &str) -> Result<Option<Blob>, StudioError> {
        let Some(path) = self.path(hash) else { return Ok(None) };
        let file = match &self.0.files {
            Files::Folder { root, .. } => Some(LocalFile::from(file_path(root, hash))),
            Files::Cache(cache) => cache.hold(hash),
        };
        if let Some(file) = file {
            return Blob::open(self.clone(), hash, file).await;
        }
        match self.0.store.head(&path).await {
            Ok(found) => Ok(Some(Blob::remote(self.clone(), hash, found.size))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// A blob as a verified file of this machine; `None` when there is none of that name.
    pub(crate) async fn local(&self, hash: &str) -> Local {
        let Some(blob) = self.get(hash).await? else { return Ok(None) };
        blob.into_local().await.map(Some)
    }

    /// Whether the blob is there and whole, read from its first byte to its last whatever was found earlier.
    pub(crate) async fn is_sound(&self, hash: &str) -> Result<bool, StudioError> {
        let Some(blob) = self.get(hash).await? else { return Ok(false) };
        match blob.stream().try_for_each(|_| std::future::ready(Ok(()))).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                if let Files::Folder { verified, .. } = &self.0.files {
                    verified.lock().unwrap_or_else(PoisonError::into_inner).remove(hash);
                }
                Ok(false)
            }
            Err(error) => Err(unreadable(error)),
        }
    }

    /// As [`Self::local`], several at a time. In the order of `hashes`.
    pub(crate) fn locals(&self, hashes: Vec<String>) -> BoxFuture<'static, Vec<Local>> {
        let blobs = self.clone();
        let local = move |hash: String| {
            let blobs = blobs.clone();
            async move { blobs.local(&hash).await }
        };
        futures::stream::iter(hashes).map(local).buffered(FETCHES).collect().boxed()
    }

    /// The content of a blob; `None` when there is none of that name.
    pub(crate) async fn read(&self, hash: &str) -> Result<Option<Vec<u8>>, StudioError> {
        match self.get(hash).await? {
            Some(blob) => Ok(Some(blob.bytes().await?)),
            None => Ok(None),
        }
    }

    /// Width and height of a blob that is a PNG file, from its first bytes; `None` when there is none of that name,
    /// or it is something else.
    pub(crate) async fn png_size(&self, hash: &str) -> Result<Option<(u32, u32)>, StudioError> {
        let Some(blob) = self.get(hash).await? else { return Ok(None) };
        if blob.size() < 24 {
            return Ok(None);
        }
        let head: Vec<u8> =
            blob.range(0..24).await?.try_collect::<Vec<_>>().await.map_err(unreadable)?.concat();
        let Ok(head) = <[u8; 24]>::try_from(head) else { return Ok(None) };
        // Signature, then the header chunk, which comes first: its length, its name, width, height.
        let [signature @ .., w0, w1, w2, w3, h0, h1, h2, h3] = head;
        let size = (u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3]));
        Ok((signature == *b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" && size.0 > 0 && size.1 > 0).then_some(size))
    }

    /// The blobs whose names begin with these two digits, each with the time of its last change (milliseconds since
    /// 1970).
    pub(crate) async fn list(&self, digits: &str) -> Result<Vec<(String, i64)>, StudioError> {
        let prefix = self.0.prefix.clone().join(digits);
        let blob = |found: object_store::ObjectMeta| {
            let name = format!("{digits}{}", found.location.filename().unwrap_or_default());
            is_hash(&name).then(|| (name, milliseconds(found.last_modified.into())))
        };
        let found = self.0.store.list(Some(&prefix));
        found.try_filter_map(|found| std::future::ready(Ok(blob(found)))).try_collect().await.map_err(failed)
    }

    /// Marks the blobs as those of the database `id`, unless another one has marked them. Whether they are `id`'s.
    pub(crate) async fn claim(&self, id: &str) -> Result<bool, StudioError> {
        let path = self.0.prefix.clone().join(OWNER);
        match self.0.store.put_opts(&path, id.to_owned().into(), PutMode::Create.into()).await {
            Ok(_) => return Ok(true),
            Err(error) if is_there(&error) => {}
            Err(error) => return Err(failed(error)),
        }
        let owner = self.0.store.get(&path).await.map_err(failed)?.bytes().await.map_err(failed)?;
        Ok(owner.trim_ascii() == id.as_bytes())
    }

    /// Removes a blob; one that is not there is as good.
    pub(crate) async fn remove(&self, hash: &str) -> Result<(), StudioError> {
        let Some(path) = self.path(hash) else { return Ok(()) };
        match &self.0.files {
            Files::Folder { verified, .. } => {
                verified.lock().unwrap_or_else(PoisonError::into_inner).remove(hash);
            }
            Files::Cache(cache) => cache.forget(hash),
        }
        match self.0.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Its name in the store. Only 64 lower-case hex digits are a blob's name, so nothing that a client sends leads
    /// anywhere else.
    fn path(&self, hash: &str) -> Option<ObjectPath> {
        object_path(&self.0.prefix, hash)
    }
}

fn object_path(prefix: &ObjectPath, hash: &str) -> Option<ObjectPath> {
    is_hash(hash).then(|| prefix.clone().join(&hash[..2]).join(&hash[2..]))
}

/// Path of the blob with that name below `root`; `None` for an invalid name.
pub(crate) fn path_below(root: &Path, hash: &str) -> Option<PathBuf> {
    is_hash(hash).then(|| file_path(root, hash))
}

fn file_path(root: &Path, hash: &str) -> PathBuf {
    root.join(&hash[..2]).join(&hash[2..])
}
