//! Blobs in a bucket: how it is opened and checked, and how blobs get in and out.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::{
    ObjectStore, ObjectStoreExt, PutMode, RetryConfig, WriteMultipart,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    path::Path as ObjectPath,
};
use tokio::{fs::File, io::AsyncWriteExt};
use tokio_util::io::ReaderStream;

use super::{
    Blobs, Bucket, Files, Staged,
    cache::Cache,
    errors::{failed, file_failed, unreadable},
    handle::BlobStream,
    local::LocalFile,
    staged,
    verify::verified,
};
use crate::StudioError;

/// Written and read at the start.
const CHECK: &str = ".adire-check";
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Larger files are sent in parts of this size.
const PART: usize = 8 << 20;
/// Parts that are under way at a time.
const PARTS: usize = 4;

/// Opens a bucket and checks that it can be written and read. Gives the store and the prefix of the blobs.
pub(super) async fn open(bucket: &Bucket) -> Result<(Arc<dyn ObjectStore>, ObjectPath), StudioError> {
    // A second provider that is there already is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let refuse = |why: String| StudioError::Storage(format!("The blobs in {bucket} cannot be used: {why}"));
    let mut builder = AmazonS3Builder::new().with_bucket_name(&bucket.name).with_retry(RetryConfig {
        max_retries: 3,
        retry_timeout: Duration::from_secs(5),
        ..RetryConfig::default()
    });
    for (key, value) in &bucket.variables {
        if let Ok(key) = key.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    // Path style: every S3 service has it.
    let builder = builder.with_virtual_hosted_style_request(false);
    let setting = |key: AmazonS3ConfigKey| builder.get_config_value(&key).unwrap_or_default();
    let endpoint = setting(AmazonS3ConfigKey::Endpoint);
    let is_yes = |value: &str| ["1", "true", "on", "yes", "y"].contains(&value.to_ascii_lowercase().as_str());
    let allows_http = bucket.variables.iter().any(|(key, value)| key == "AWS_ALLOW_HTTP" && is_yes(value));
    if endpoint.starts_with("http://") && !allows_http {
        return Err(refuse(format!(
            "{endpoint} is not encrypted. Use https, or set AWS_ALLOW_HTTP=true within a network that you trust."
        )));
    }
    let has_key = !setting(AmazonS3ConfigKey::AccessKeyId).is_empty();
    let store = builder.build().map_err(|error| refuse(format!("{error}.")))?;
    let prefix = ObjectPath::from(bucket.prefix.as_str());
    let checked = tokio::time::timeout(PATIENCE, check(&store, &prefix)).await;
    let reached = if endpoint.is_empty() { "the S3 service".to_owned() } else { endpoint };
    match checked {
        Ok(Ok(())) => Ok((Arc::new(store), prefix)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the bucket was not usable");
            Err(refuse(reason(&error, &reached, has_key)))
        }
        Err(_) if !has_key => Err(refuse(NO_KEY.to_owned())),
        Err(_) => Err(refuse(format!("{reached} did not answer within {} seconds.", PATIENCE.as_secs()))),
    }
}

const NO_KEY: &str = "there are no credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.";

async fn check(store: &dyn ObjectStore, prefix: &ObjectPath) -> Result<(), object_store::Error> {
    let path = prefix.clone().join(CHECK);
    let written = uuid::Uuid::new_v4().to_string();
    store.put(&path, written.clone().into()).await?;
    let read = store.get(&path).await?.bytes().await?;
    if read == written {
        return Ok(());
    }
    let source = "what was written is not what is read".into();
    Err(object_store::Error::Generic { store: "S3", source })
}

/// Why a bucket cannot be used, and what to do.
fn reason(error: &object_store::Error, reached: &str, has_key: bool) -> String {
    use object_store::Error::{NotFound, PermissionDenied, Unauthenticated};
    match error {
        NotFound { .. } => "the bucket does not exist. Create it, or correct the name.".to_owned(),
        PermissionDenied { .. } | Unauthenticated { .. } => {
            "access denied. Check the credentials in AWS_…, and that they may read, write, list and delete there."
                .to_owned()
        }
        _ if !has_key => NO_KEY.to_owned(),
        _ => {
            let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
            while let Some(cause) = source {
                if let Some(io) = cause.downcast_ref::<io::Error>() {
                    return format!("{reached} cannot be reached: {}.", crate::folder::reason(io));
                }
                source = cause.source();
            }
            format!("{reached} answered with an error: {error}.")
        }
    }
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

/// Whether a write failed because the object exists.
fn is_there(error: &object_store::Error) -> bool {
    use object_store::Error::{AlreadyExists, Precondition};
    matches!(error, AlreadyExists { .. } | Precondition { .. })
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
                Some(cache) => Copy::create(cache).await.ok(),
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
        let missing = || StudioError::Storage("A file of the studio is missing in its store.".to_owned());
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
