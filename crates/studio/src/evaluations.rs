//! Evaluations as their callers see them: created, cancelled, read. `work::evaluation` executes them.

use std::sync::Arc;

use adire_protocol::{
    AdapterVersion, EvaluationDetail, EvaluationRecord, EvaluationRequest, EvaluationState,
    EvaluationStepName, GatePolicy, StepState, is_repository,
};
use uuid::Uuid;

use crate::{
    StudioError, adapters,
    evaluation::{plan::expected_ms, policy::Policy, settings, steps, suite::Suite},
    job::{JobKind, NewJob},
    own_suite::{self, MAX_TEXT},
    shared::Shared,
    store::{EvaluationRow, NewEvaluation},
    time::now,
    work,
};

/// Checks a request and puts it into the queue.
pub(crate) async fn submit(
    shared: Arc<Shared>,
    mut request: EvaluationRequest,
) -> Result<EvaluationRecord, StudioError> {
    shared.work.check_intake()?;
    let version = version(&shared, "version", &request.version).await?;
    let champion = match &request.against {
        Some(name) => {
            let champion = self::version(&shared, "against", name).await?;
            if champion.name != version.name {
                return Err(StudioError::invalid(
                    "against",
                    format!("{} is another adapter; compare versions of one adapter.", champion.id()),
                ));
            }
            Some(champion)
        }
        None => production(&shared, &version).await?,
    };
    let suite = match &request.suite {
        Some(text) if text.len() > MAX_TEXT => {
            return Err(StudioError::invalid(
                "suite",
                format!("The suite has {} bytes; the limit is {MAX_TEXT}.", text.len()),
            ));
        }
        Some(text) => Suite::parse(text).map_err(|error| StudioError::invalid("suite", error.to_string()))?,
        None => own_suite::suite(&shared).await?,
    };
    check_dataset(&shared, &request, &version).await?;
    if let Some(repository) = request.publish.as_ref().filter(|repository| !is_repository(repository)) {
        let shown: String = repository.chars().take(80).collect();
        return Err(StudioError::invalid(
            "publish",
            format!("The repository must be like owner/name; got “{shown}”."),
        ));
    }
    let policy = policy(&shared).await?;
    request.version = version.id();
    request.against = champion.as_ref().map(AdapterVersion::id);
    // It is kept beside it, parsed.
    request.suite = None;
    let job = NewJob {
        id: Uuid::now_v7().to_string(),
        kind: JobKind::Evaluation,
        // The admin's; they run in order.
        owner: String::new(),
        cost: expected_ms(&suite),
        wants: String::new(),
        model: shared.model.hash.clone(),
        created_at: now(),
    };
    let new = NewEvaluation {
        request,
        name: version.name,
        version: version.version,
        hash: version.hash,
        champion: champion.map(|champion| (champion.version, champion.hash)),
        base: shared.model.hash.clone(),
        suite: json(&suite)?,
        policy: policy.to_toml(),
        warnings: suite.warning().into_iter().collect(),
    };
    shared.store.insert_evaluation(&job, &new).await?;
    shared.work.waits(JobKind::Evaluation);
    record(&shared, &job.id).await
}

/// Queues an evaluation again: same version, suite and comparison, today's gate. `step` runs even if its inputs have not changed.
pub(crate) async fn rerun(
    shared: Arc<Shared>,
    id: String,
    step: EvaluationStepName,
) -> Result<EvaluationRecord, StudioError> {
    let row = row(&shared, &id).await?;
    let promote = row.request()?.promote;
    if step == EvaluationStepName::Promote && !promote {
        let message = "This evaluation was not to promote the version, so it has no such step.";
        return Err(StudioError::invalid("step", message));
    }
    if step == EvaluationStepName::Publish && row.request()?.publish.is_none() {
        let message = "This evaluation was not to publish the version, so it has no such step.";
        return Err(StudioError::invalid("step", message));
    }
    let request = again(&row, step)?;
    submit(shared, request).await
}

/// Decides the newest finished evaluation of a version against another one (empty: the base model) again, so that its verdict
/// counts the votes. Nothing is promoted or published: what is in production may have changed since the evaluation was requested.
pub(crate) async fn decide_again(
    shared: Arc<Shared>,
    version: &str,
    against: &str,
) -> Result<(), StudioError> {
    let name = version.split('@').next();
    let known = shared.store.evaluations(name).await?;
    let newest = known.into_iter().find(|row| {
        row.state() == EvaluationState::Done
            && row.id_of_version() == version
            && row.id_of_champion().unwrap_or_default() == against
    });
    let Some(row) = newest else { return Ok(()) };
    let request = again(&row, EvaluationStepName::Verdict)?;
    submit(shared, EvaluationRequest { promote: false, publish: None, ..request }).await.map(drop)
}

/// The request of an evaluation that does the same again.
fn again(row: &EvaluationRow, step: EvaluationStepName) -> Result<EvaluationRequest, StudioError> {
    let suite: Suite = row.suite()?;
    Ok(EvaluationRequest {
        version: row.id_of_version(),
        against: row.id_of_champion(),
        suite: Some(json(&suite)?),
        rerun: Some(step),
        ..row.request()?
    })
}

fn json(suite: &Suite) -> Result<String, StudioError> {
    serde_json::to_string(suite).map_err(|error| StudioError::Storage(error.to_string()))
}

async fn version(shared: &Shared, field: &str, name: &str) -> Result<AdapterVersion, StudioError> {
    let known = shared.store.all_adapters().await?;
    let known: Vec<AdapterVersion> =
        known.into_iter().filter(|listed| listed.deleted_at.is_none()).map(|listed| listed.version).collect();
    adapters::resolve(&known, name).cloned().map_err(|error| StudioError::invalid(field, error.to_string()))
}

/// A dataset may be named only where the studio knows none.
async fn check_dataset(
    shared: &Shared,
    request: &EvaluationRequest,
    version: &AdapterVersion,
) -> Result<(), StudioError> {
    let Some(dataset) = &request.dataset else { return Ok(()) };
    if let Some(run) = shared.store.run_of_version(&version.id()).await? {
        if run.request()?.dataset == *dataset {
            return Ok(());
        }
        let message = format!(
            "{} was trained by this studio, which knows its dataset. Leave this empty.",
            version.id()
        );
        return Err(StudioError::invalid("dataset", message));
    }
    match shared.datasets.row(dataset).await {
        Ok(_) => Ok(()),
        Err(error @ StudioError::NotFound { .. }) => Err(StudioError::invalid("dataset", error.to_string())),
        Err(error) => Err(error),
    }
}

/// The version in production, unless that is the one to be evaluated.
async fn production(
    shared: &Shared,
    version: &AdapterVersion,
) -> Result<Option<AdapterVersion>, StudioError> {
    let book = shared.store.book(&version.name).await?;
    let Some(number) = book.production().filter(|number| *number != version.version) else { return Ok(None) };
    self::version(shared, "against", &format!("{}@v{number}", version.name)).await.map(Some)
}

/// Cancels an evaluation.
pub(crate) async fn cancel(shared: Arc<Shared>, id: String) -> Result<EvaluationRecord, StudioError> {
    row(&shared, &id).await?;
    work::cancel_or_refuse(&shared, &id, work::kind_of(JobKind::Evaluation)).await?;
    record(&shared, &id).await
}

/// Every evaluation, newest first; those of one adapter, if a name is given.
pub(crate) async fn records(
    shared: &Shared,
    name: Option<&str>,
) -> Result<Vec<EvaluationRecord>, StudioError> {
    let mut records = Vec::new();
    for row in shared.store.evaluations(name).await? {
        records.push(assemble(shared, row).await?);
    }
    Ok(records)
}

pub(crate) async fn record(shared: &Shared, id: &str) -> Result<EvaluationRecord, StudioError> {
    let row = row(shared, id).await?;
    assemble(shared, row).await
}

pub(crate) async fn detail(shared: &Shared, id: &str) -> Result<EvaluationDetail, StudioError> {
    let evaluation = record(shared, id).await?;
    let images = shared.store.evaluation_images(id).await?;
    Ok(EvaluationDetail { evaluation, images })
}

async fn row(shared: &Shared, id: &str) -> Result<EvaluationRow, StudioError> {
    shared.store.evaluation(id).await?.ok_or_else(|| StudioError::not_found("evaluation", id))
}

async fn assemble(shared: &Shared, row: EvaluationRow) -> Result<EvaluationRecord, StudioError> {
    let suite: Suite = row.suite()?;
    let (state, verdict, warnings) = (row.state(), row.verdict()?, row.warnings()?);
    let mut known = shared.store.steps(&row.id).await?;
    if state.is_final() {
        known.iter_mut().filter(|step| step.state == StepState::Running).for_each(|step| {
            step.state = StepState::Pending;
        });
    }
    let step = |name| known.iter().find(|step| step.name == name).cloned();
    let steps = EvaluationStepName::ALL;
    Ok(EvaluationRecord {
        state,
        version: row.id_of_version(),
        champion: row.id_of_champion(),
        prompts: u32::try_from(suite.prompts.len() * suite.seeds.len()).unwrap_or(u32::MAX),
        suite: suite.name,
        judge: row.judge.clone(),
        promote: row.request()?.promote,
        publish: row.request()?.publish,
        created_at: row.created_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
        images_done: u32::try_from(row.images_done).unwrap_or(u32::MAX),
        images: u32::try_from(row.images).unwrap_or(u32::MAX),
        steps: steps.into_iter().map(|name| step(name).unwrap_or_else(|| steps::pending(name))).collect(),
        verdict,
        warnings,
        error: row.error.clone(),
        id: row.id,
    })
}

/// The gate's settings for the loaded model.
pub(crate) async fn policy(shared: &Shared) -> Result<Policy, StudioError> {
    settings::policy(&shared.store, &shared.model.hash).await
}

/// Replaces them.
pub(crate) async fn set_policy(shared: &Shared, new: GatePolicy) -> Result<GatePolicy, StudioError> {
    if new.toml.len() > MAX_TEXT {
        return Err(StudioError::invalid(
            "toml",
            format!("The settings have {} bytes; the limit is {MAX_TEXT}.", new.toml.len()),
        ));
    }
    Policy::parse(&new.toml).map_err(|error| StudioError::invalid("toml", error.to_string()))?;
    shared.store.set_setting(&settings::key(&shared.model.hash), &new.toml).await?;
    Ok(new)
}
