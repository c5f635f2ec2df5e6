//! Pushes as their callers see them: requested, listed, cancelled. `work::push` is how they are executed.

use adire_protocol::{PushRecord, PushRequest};

use crate::{
    StudioError,
    job::JobKind,
    push_queue::{self, record},
    registry::exact,
    shared::Shared,
    work,
};

/// Checks a request and puts it into the queue, unless the admin has paused new jobs. The same one again gives the push that
/// is under way.
pub(crate) async fn submit(
    shared: &Shared,
    id: &str,
    request: PushRequest,
) -> Result<PushRecord, StudioError> {
    push_queue::check(&request)?;
    shared.work.check_intake()?;
    push_queue::submit(shared, id, request).await
}

/// The newest pushes; those of one version (`name@vN`), if it is given.
pub(crate) async fn records(shared: &Shared, of: Option<&str>) -> Result<Vec<PushRecord>, StudioError> {
    let of = match of {
        Some(id) => Some(exact(&shared.store, id).await?),
        None => None,
    };
    shared.store.pushes(of.as_ref().map(|(name, version)| (name.as_str(), *version))).await
}

/// Cancels a push.
pub(crate) async fn cancel(shared: &Shared, id: &str) -> Result<PushRecord, StudioError> {
    record(shared, id).await?;
    work::cancel_or_refuse(shared, id, work::kind_of(JobKind::Push)).await?;
    record(shared, id).await
}
