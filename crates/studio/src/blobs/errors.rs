//! Errors of files and stores as sentences that visitors may read: paths and addresses are for the log.

use std::{io, time::Duration};

use crate::{StudioError, folder};

/// How often, and after how long, a file is tried again when the process may open no more: half a minute, in which idle
/// connections end.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);

/// Tries once more while too many files are open. What was made must not be lost because others hold connections.
pub(super) async fn again<T, W: Future<Output = Result<T, StudioError>>>(
    work: impl FnMut() -> W,
) -> Result<T, StudioError> {
    again_for((TRIES, PAUSE), work).await
}

async fn again_for<T, W: Future<Output = Result<T, StudioError>>>(
    (mut tries, pause): (u32, Duration),
    mut work: impl FnMut() -> W,
) -> Result<T, StudioError> {
    loop {
        match work().await {
            Err(StudioError::OutOfFiles) if tries > 1 => {
                tries -= 1;
                tokio::time::sleep(pause).await;
            }
            other => return other,
        }
    }
}

/// An error of the store. Paths and addresses in it are for the log: the sentence may reach visitors.
pub(super) fn failed(error: object_store::Error) -> StudioError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return file_failed(io);
        }
        source = cause.source();
    }
    tracing::error!(%error, "the store of the blobs failed");
    StudioError::Storage("The store of the studio's files failed; try again later.".to_owned())
}

/// An error of a file of this machine. One whose hash is wrong is damaged.
pub(super) fn file_failed(error: &io::Error) -> StudioError {
    const WHAT: &str = "A file of the studio could not be read or written";
    if error.kind() == io::ErrorKind::InvalidData {
        return StudioError::Damaged(format!("{WHAT}: {error}."));
    }
    let failed = folder::failed(WHAT, error);
    if matches!(failed, StudioError::Storage(_)) {
        tracing::error!(%error, "a blob could not be read or written");
    }
    failed
}

/// An error of a blob's stream.
pub(super) fn unreadable(error: io::Error) -> StudioError {
    match error.downcast::<object_store::Error>() {
        Ok(error) => failed(error),
        Err(error) => file_failed(&error),
    }
}

/// Whether a write failed because the object exists.
pub(super) fn is_there(error: &object_store::Error) -> bool {
    use object_store::Error::{AlreadyExists, Precondition};
    matches!(error, AlreadyExists { .. } | Precondition { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_has_its_own_error() {
        let error_of = |kind| {
            let source = Box::new(io::Error::from(kind));
            failed(object_store::Error::Generic { store: "/data/blobs/x", source })
        };
        assert!(matches!(error_of(io::ErrorKind::StorageFull), StudioError::DiskFull));
        assert!(matches!(error_of(io::ErrorKind::QuotaExceeded), StudioError::DiskFull));
        let other = error_of(io::ErrorKind::PermissionDenied).to_string();
        assert!(other.contains("permission denied") && !other.contains("/blobs"), "{other}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn too_many_open_files_are_waited_for() {
        let mut left = 3;
        let kept = again_for((5, Duration::ZERO), || {
            left -= 1;
            let full = Err(file_failed(&io::Error::from_raw_os_error(24)));
            std::future::ready(if left > 0 { full } else { Ok("kept") })
        });
        assert!(matches!(kept.await, Ok("kept")));
        let mut tried = 0;
        let given_up = again_for((5, Duration::ZERO), || {
            tried += 1;
            std::future::ready(Err::<(), _>(file_failed(&io::Error::from_raw_os_error(23))))
        });
        assert!(matches!(given_up.await, Err(StudioError::OutOfFiles)) && tried == 5);
        let mut tried = 0;
        let other = again_for((5, Duration::ZERO), || {
            tried += 1;
            std::future::ready(Err::<(), _>(StudioError::DiskFull))
        });
        assert!(matches!(other.await, Err(StudioError::DiskFull)) && tried == 1, "nothing else is");
    }
}
