//! Work beside the task that waits for it: on a thread that may block, or in a task of its own.

use tokio::task::JoinError;

use crate::StudioError;

/// Does disk or CPU work on a thread that may block. It begins with the call, not with the first wait for it.
pub(crate) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StudioError> + Send + 'static,
) -> impl Future<Output = Result<T, StudioError>> + Send + 'static {
    let work = tokio::task::spawn_blocking(work);
    async { work.await.unwrap_or_else(|error| Err(not_joined(&error))) }
}

/// Runs to the end even when the caller is dropped half-way.
pub(crate) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, StudioError>> + Send + 'static,
) -> Result<T, StudioError> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(not_joined(&error)))
}

/// Why work has no result: it panicked, or it was stopped together with the runtime. A panic must not look like a
/// shutdown, after which a job is tried again for ever.
fn not_joined(error: &JoinError) -> StudioError {
    if error.is_panic() {
        tracing::error!(%error, "a task of the studio panicked");
        return StudioError::Backend("The studio hit a bug; please report it.".to_owned());
    }
    StudioError::ShuttingDown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_does_not_look_like_a_shutdown() {
        for ended in [
            blocking(|| -> Result<(), _> { panic!("a bug") }).await,
            detached(async { panic!("a bug") }).await,
        ] {
            assert!(matches!(&ended, Err(StudioError::Backend(why)) if why.contains("bug")), "{ended:?}");
        }
    }
}
