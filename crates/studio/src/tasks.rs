//! Work beside the task that waits for it: on a thread that may block, or in a task of its own.

use crate::StudioError;

/// Does disk or CPU work on a thread that may block. It begins with the call, not with the first wait for it.
pub(crate) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StudioError> + Send + 'static,
) -> impl Future<Output = Result<T, StudioError>> + Send + 'static {
    let work = tokio::task::spawn_blocking(work);
    // A task that cannot be joined was stopped with the runtime.
    async { work.await.unwrap_or(Err(StudioError::ShuttingDown)) }
}

/// Runs to the end even when the caller is dropped half-way.
pub(crate) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, StudioError>> + Send + 'static,
) -> Result<T, StudioError> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        if error.is_panic() {
            tracing::error!(%error, "a task of the studio panicked");
            return Err(StudioError::Backend("The studio hit a bug; please report it.".to_owned()));
        }
        // Stopped together with the runtime.
        Err(StudioError::ShuttingDown)
    })
}
