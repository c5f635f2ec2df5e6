//! Changes to training runs. Each is written first and then signalled to the active run, so that it holds
//! whatever happens next.

use std::sync::Arc;

use adire_protocol::{GenerationRequest, TrainingRequest, TrainingRun, TrainingSettings, TrainingState};
use uuid::Uuid;

use super::views;
use crate::{
    StudioError,
    adapters::resolve,
    dataset::sample_prompts,
    job::{Asked, JobKind, JobState, NewJob},
    shared::Shared,
    time::now,
    work,
};

/// Checks a request, freezes its datasets and puts it into the queue.
pub(crate) async fn submit(
    shared: Arc<Shared>,
    mut request: TrainingRequest,
) -> Result<TrainingRun, StudioError> {
    request.validate()?;
    shared.work.check_intake()?;
    for prompt in &request.config.sample_prompts {
        let sample = GenerationRequest { prompt: prompt.clone(), ..GenerationRequest::default() };
        if let Err(error) = sample.validate(&shared.model.limits, &shared.model.defaults, 0) {
            return Err(StudioError::invalid(
                "config.sample_prompts",
                format!("Invalid prompt “{prompt}”: {error}"),
            ));
        }
    }
    if let Some(prompt) = &request.class_prompt
        && request.config.class_images > 0
    {
        let image = GenerationRequest { prompt: prompt.clone(), ..GenerationRequest::default() };
        if let Err(error) = image.validate(&shared.model.limits, &shared.model.defaults, 0) {
            return Err(StudioError::invalid("class_prompt", format!("Invalid prompt “{prompt}”: {error}")));
        }
    }
    let named = [("dataset", Some(&request.dataset)), ("class_dataset", request.class_dataset.as_ref())];
    for (field, id) in named {
        let Some(id) = id else { continue };
        match shared.datasets.row(id).await {
            Ok(_) => {}
            Err(error @ StudioError::NotFound { .. }) => {
                return Err(StudioError::invalid(field, error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    fill_samples(&shared, &mut request).await?;
    if let Some(name) = &request.continue_from {
        let known = shared.store.adapters().await?;
        let version = resolve(&known, name)
            .map_err(|error| StudioError::invalid("continue_from", error.to_string()))?;
        request.continue_from = Some(version.id());
    }
    let hash = shared.datasets.freeze(&request.dataset).await.map_err(|error| empty("dataset", error))?;
    if let Some(id) = &request.class_dataset {
        shared.datasets.freeze(id).await.map_err(|error| empty("class_dataset", error))?;
    }
    let job = NewJob {
        id: Uuid::now_v7().to_string(),
        kind: JobKind::Training,
        // The admin's; they run in order.
        owner: String::new(),
        cost: work::expected_training_ms(&request),
        wants: String::new(),
        model: shared.model.hash.clone(),
        created_at: now(),
    };
    shared.store.insert_run(&job, &request, &hash).await?;
    shared.work.waits(JobKind::Training);
    views::job(&shared, &job.id).await
}

/// Fills in the default sample prompts and interval.
async fn fill_samples(shared: &Shared, request: &mut TrainingRequest) -> Result<(), StudioError> {
    let every = request.config.sampled_every();
    request.config.sample_every = Some(every);
    if every == 0 || !request.config.sample_prompts.is_empty() {
        return Ok(());
    }
    let dataset = shared.datasets.read(&request.dataset).await?;
    let texts = dataset.images.iter().map(|image| image.text.as_str());
    let mut prompts = sample_prompts(texts, &dataset.trigger);
    // A caption may be invalid as a prompt; skip it silently, since the user did not choose it.
    prompts.retain(|prompt| {
        let sample = GenerationRequest { prompt: prompt.clone(), ..GenerationRequest::default() };
        sample.validate(&shared.model.limits, &shared.model.defaults, 0).is_ok()
    });
    request.config.sample_prompts = prompts;
    Ok(())
}

/// Pauses a run until it is resumed.
pub(crate) async fn pause(shared: Arc<Shared>, id: String) -> Result<TrainingRun, StudioError> {
    // So that a wrong id, or that of another kind of job, changes nothing.
    views::job(&shared, &id).await?;
    work::stop(&shared, &id, &[JobState::Queued], Asked::Pause).await?;
    shared.work.notify_all();
    let run = views::job(&shared, &id).await?;
    if run.state == TrainingState::Paused {
        return Ok(run);
    }
    let state = run.state.name();
    Err(StudioError::Training(format!("This training run is {state} and can't be paused.")))
}

/// Cancels a run.
pub(crate) async fn cancel(shared: Arc<Shared>, id: String) -> Result<TrainingRun, StudioError> {
    views::job(&shared, &id).await?;
    work::cancel_or_refuse(&shared, &id, work::kind_of(JobKind::Training)).await?;
    views::job(&shared, &id).await
}

/// Resumes a paused or failed run from its checkpoint.
pub(crate) async fn resume(shared: Arc<Shared>, id: String) -> Result<TrainingRun, StudioError> {
    views::job(&shared, &id).await?;
    let done = shared.store.resume(&id).await?;
    // One that has not stopped yet continues.
    shared.work.go_on(&id);
    shared.work.waits(JobKind::Training);
    let run = views::job(&shared, &id).await?;
    if done || !run.state.is_resting() {
        return Ok(run);
    }
    Err(StudioError::Training(format!(
        "This training run is {} and can't be resumed. Duplicate it instead.",
        run.state.name()
    )))
}

pub(crate) async fn set_settings(
    shared: &Shared,
    settings: TrainingSettings,
) -> Result<TrainingSettings, StudioError> {
    shared.training.set_settings(&shared.store, settings).await?;
    shared.work.look_again();
    Ok(settings)
}

fn empty(field: &str, error: StudioError) -> StudioError {
    match error {
        StudioError::Image(message) => StudioError::invalid(field, message),
        other => other,
    }
}
