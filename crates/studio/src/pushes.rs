//! Pushes as their callers see them: requested, listed, cancelled; and as the uploader sees them: claimed, reported,
//! ended. They are jobs under a lease like all others, but the device has nothing to do with them, so a task of their own
//! runs them, one at a time.

use std::sync::{Arc, atomic::AtomicBool};

use adire_protocol::{FieldError, PushRecord, PushRequest, PushState, ValidationError, is_repository};
use uuid::Uuid;

use crate::{
    StudioError,
    job::{Asked, EndedBy, JobKind, JobState, MAX_ATTEMPTS, NewJob, Outcome, WriteError},
    publication,
    queue::{Hold, Stop},
    registry::exact,
    shared::Shared,
    store::Release,
    time::now,
    work::Claimer,
};

/// Longest licence.
const MAX_LICENSE: usize = 60;

/// A push that this process runs.
#[derive(Clone, Debug)]
pub struct PushTask {
    /// The push.
    pub record: PushRecord,
    /// Set once it must stop.
    pub stop: Arc<AtomicBool>,
    hold: Arc<Hold>,
}

/// Checks a request and puts it into the queue. The same one again gives the push that is under way.
pub(crate) async fn submit(
    shared: &Shared,
    id: &str,
    request: PushRequest,
) -> Result<PushRecord, StudioError> {
    let version = publication::version(&shared.store, id).await?;
    check(&request)?;
    let job = NewJob {
        id: Uuid::now_v7().to_string(),
        kind: JobKind::Push,
        owner: String::new(),
        cost: 1,
        wants: String::new(),
        model: shared.model.hash.clone(),
        created_at: now(),
    };
    let id = shared.store.insert_push(&job, &request, (&version.name, version.version)).await?;
    shared.pushes.notify_one();
    record(shared, &id).await
}

pub(crate) fn check(request: &PushRequest) -> Result<(), StudioError> {
    let mut errors = Vec::new();
    let mut error =
        |field: &str, message: String| errors.push(FieldError { field: field.to_owned(), message });
    let shown = |text: &str| text.chars().take(80).collect::<String>();
    if !is_repository(&request.repository) {
        let text = shown(&request.repository);
        error("repository", format!("The repository must be like owner/name; got “{text}”."));
    }
    if let Some(base) = request.base_model.as_ref().filter(|base| !is_repository(base)) {
        error("base_model", format!("The base model must be like owner/name; got “{}”.", shown(base)));
    }
    let fits = |license: &String| {
        (1..=MAX_LICENSE).contains(&license.len())
            && license.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
    };
    if let Some(license) = request.license.as_ref().filter(|license| !fits(license)) {
        let text = shown(license);
        error("license", format!("The licence must be like creativeml-openrail-m; got “{text}”."));
    }
    if errors.is_empty() { Ok(()) } else { Err(StudioError::Invalid(ValidationError(errors))) }
}

pub(crate) async fn record(shared: &Shared, id: &str) -> Result<PushRecord, StudioError> {
    shared.store.push(id).await?.ok_or_else(|| StudioError::not_found("push", id))
}

/// The newest pushes; those of one version (`name@vN`), if it is given.
pub(crate) async fn records(shared: &Shared, of: Option<&str>) -> Result<Vec<PushRecord>, StudioError> {
    let of = of.map(exact).transpose()?;
    shared.store.pushes(of.as_ref().map(|(name, version)| (name.as_str(), *version))).await
}

/// Cancels a push.
pub(crate) async fn cancel(shared: &Shared, id: &str) -> Result<PushRecord, StudioError> {
    record(shared, id).await?;
    // Twice: it may be claimed between the two questions.
    for _ in 0..2 {
        let by = EndedBy::NotHeld { id, from: &[JobState::Queued] };
        if shared.store.end(by, Outcome::Cancelled { why: None }).await?.is_some() {
            break;
        }
        if shared.store.ask(id, Asked::Cancel).await? {
            shared.work.stop(id, Stop::Asked(Asked::Cancel));
            break;
        }
    }
    let record = record(shared, id).await?;
    match record.state {
        PushState::Cancelled | PushState::Running => Ok(record),
        state => Err(StudioError::Conflict(format!("The push is {} and cannot be cancelled.", state.name()))),
    }
}

/// Waits for the next push and claims it.
pub(crate) async fn next(shared: &Shared) -> Result<PushTask, StudioError> {
    let mut claimer = Claimer::new(&shared.work.node, JobKind::Push, &shared.model.hash);
    loop {
        if shared.work.is_closing() {
            return Err(StudioError::ShuttingDown);
        }
        let Some(claimed) = claimer.claim(&shared.store).await? else {
            shared.pushes.notified().await;
            continue;
        };
        let hold = shared.work.hold(&claimed);
        if claimed.attempts > MAX_ATTEMPTS {
            let message =
                format!("The server crashed {MAX_ATTEMPTS} times during this push, so it is not retried.");
            end(shared, &hold, Outcome::Failed(&message)).await?;
            continue;
        }
        let record = record(shared, &hold.lease.job).await?;
        return Ok(PushTask { record, stop: hold.stop.clone(), hold });
    }
}

/// Notes what a push is doing.
pub(crate) async fn report(shared: &Shared, task: &PushTask, progress: &str) -> Result<(), StudioError> {
    match shared.store.note_push(&task.hold.lease, progress).await {
        Ok(()) => Ok(()),
        Err(WriteError::LeaseLost) => {
            task.hold.stop(Stop::LeaseLost);
            Ok(())
        }
        Err(WriteError::Studio(error)) => Err(error),
    }
}

/// A push has ended: with the repository's address and the commit, or with a sentence.
pub(crate) async fn finish(
    shared: &Shared,
    task: &PushTask,
    result: Result<(&str, Option<&str>), &str>,
) -> Result<(), StudioError> {
    let hold = &task.hold;
    if let Some(stop) = hold.stopped().filter(|_| result.is_err()) {
        if stop != Stop::LeaseLost {
            // It waits again, or is cancelled as requested.
            shared.store.release(Release::Held(&hold.lease)).await?;
        }
        shared.work.let_go(&hold.lease.job, None, None);
        return Ok(());
    }
    match result {
        Ok((url, commit)) => {
            match shared.store.note_pushed(&hold.lease, url, commit).await {
                Ok(()) | Err(WriteError::LeaseLost) => {}
                Err(WriteError::Studio(error)) => return Err(error),
            }
            end(shared, hold, Outcome::Done { version: None }).await
        }
        Err(message) => end(shared, hold, Outcome::Failed(message)).await,
    }
}

async fn end(shared: &Shared, hold: &Hold, outcome: Outcome<'_>) -> Result<(), StudioError> {
    let id = hold.lease.job.as_str();
    let ended = shared.store.end(EndedBy::Holder(&hold.lease, shared.work.next_event(id)), outcome).await;
    shared.work.let_go(id, ended.as_ref().ok().copied().flatten(), None);
    ended.map(drop)
}
