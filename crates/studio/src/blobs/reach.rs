//! Reaching a bucket: the client of its service, the check at the start, and why it cannot be used.

use std::{io, time::Duration};

use object_store::{
    ObjectStore, ObjectStoreExt, PutMode, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    path::Path as ObjectPath,
};

use super::{Bucket, errors::is_there};
use crate::StudioError;

/// Written and read at the start.
const CHECK: &str = ".adire-check";
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A bucket that may or may not answer.
pub(super) struct Reached {
    pub(super) store: AmazonS3,
    pub(super) prefix: ObjectPath,
    endpoint: String,
    has_key: bool,
}

fn refusal(bucket: &Bucket, why: &str) -> StudioError {
    StudioError::Storage(format!("The blobs in {bucket} cannot be used: {why}"))
}

/// The client of a bucket; nothing is sent yet.
pub(super) fn reach(bucket: &Bucket) -> Result<Reached, StudioError> {
    // A second provider that is there already is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
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
        let why = format!(
            "{endpoint} is not encrypted. Use https, or set AWS_ALLOW_HTTP=true within a network that you trust."
        );
        return Err(refusal(bucket, &why));
    }
    let has_key = !setting(AmazonS3ConfigKey::AccessKeyId).is_empty();
    let store = builder.build().map_err(|error| refusal(bucket, &format!("{error}.")))?;
    let endpoint = if endpoint.is_empty() { "the S3 service".to_owned() } else { endpoint };
    Ok(Reached { store, prefix: ObjectPath::from(bucket.prefix.as_str()), endpoint, has_key })
}

impl Reached {
    /// What the bucket answers, or why it cannot be used.
    pub(super) async fn within<T>(
        &self,
        bucket: &Bucket,
        asked: impl Future<Output = Result<T, object_store::Error>>,
    ) -> Result<T, StudioError> {
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the bucket was not usable");
                Err(refusal(bucket, &reason(&error, &self.endpoint, self.has_key)))
            }
            Err(_) if !self.has_key => Err(refusal(bucket, NO_KEY)),
            Err(_) => {
                let why = format!("{} did not answer within {} seconds.", self.endpoint, PATIENCE.as_secs());
                Err(refusal(bucket, &why))
            }
        }
    }
}

const NO_KEY: &str = "there are no credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.";

/// Writes and reads the bucket.
pub(super) async fn check(store: &dyn ObjectStore, prefix: &ObjectPath) -> Result<(), object_store::Error> {
    let path = prefix.clone().join(CHECK);
    let written = uuid::Uuid::new_v4().to_string();
    store.put(&path, written.clone().into()).await?;
    let read = store.get(&path).await?.bytes().await?;
    let generic = |source: &str| Err(object_store::Error::Generic { store: "S3", source: source.into() });
    if read != written {
        return generic("what was written is not what is read");
    }
    // Uploads and the owner's mark are written only where nothing is yet.
    match store.put_opts(&path, written.into(), PutMode::Create.into()).await {
        Ok(_) => generic("it ignores If-None-Match, so that it cannot write only where nothing is"),
        Err(error) if is_there(&error) => Ok(()),
        Err(error) => Err(error),
    }
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
