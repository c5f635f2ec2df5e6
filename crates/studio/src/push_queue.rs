//! Pushes until they wait in the queue: a request is checked and written.

use adire_protocol::{FieldError, PushRecord, PushRequest, ValidationError, is_repository};
use uuid::Uuid;

use crate::{
    StudioError,
    job::{JobKind, NewJob},
    publication,
    shared::Shared,
    time::now,
};

/// Longest licence.
const MAX_LICENSE: usize = 60;

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
    shared.work.waits(JobKind::Push);
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
