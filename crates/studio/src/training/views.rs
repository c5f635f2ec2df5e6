//! Read access to training runs: rows joined with the in-memory state of the active run.

use std::collections::HashMap;

use adire_protocol::{TrainingRun, TrainingRunDetail, TrainingState};

use crate::{
    StudioError,
    shared::Shared,
    store::{RunFacts, RunRow},
};

/// Every training run, newest first.
pub(crate) async fn jobs(shared: &Shared) -> Result<Vec<TrainingRun>, StudioError> {
    let facts = shared.store.run_facts(None).await?;
    let mut facts: HashMap<_, _> = facts.into_iter().map(|facts| (facts.run.clone(), facts)).collect();
    let rows = shared.store.runs().await?.into_iter();
    // One that came between the two questions has come to nothing yet.
    rows.map(|row| {
        let facts = facts.remove(&row.id).unwrap_or_default();
        assemble(shared, row, facts)
    })
    .collect()
}

/// A training run's current record.
pub(crate) async fn job(shared: &Shared, id: &str) -> Result<TrainingRun, StudioError> {
    let missing = || StudioError::not_found("training run", id);
    let row = shared.store.run(id).await?.ok_or_else(missing)?;
    let facts = shared.store.run_facts(Some(id)).await?.into_iter().next().unwrap_or_default();
    assemble(shared, row, facts)
}

/// A training run with its points and samples.
pub(crate) async fn detail(shared: &Shared, id: &str) -> Result<TrainingRunDetail, StudioError> {
    let job = job(shared, id).await?;
    let points = shared.store.points(&job.id, 0).await?.into_iter().map(|(_, point)| point).collect();
    let samples = shared.store.samples(&job.id, 0).await?.into_iter().map(|(_, sample)| sample).collect();
    Ok(TrainingRunDetail { run: job, points, samples })
}

fn assemble(shared: &Shared, row: RunRow, facts: RunFacts) -> Result<TrainingRun, StudioError> {
    let (request, state, forecast) = (row.request()?, row.state(), row.forecast()?);
    let active = shared.training.active().clone().filter(|active| active.id == row.id);
    let running = state == TrainingState::Running;
    let RunFacts { first_held_out, last_held_out, recent_seconds, ahead: before, .. } = facts;
    let steps = request.config.steps;
    let step = u32::try_from(row.step).unwrap_or_default();
    let forecast_step = forecast.map(|forecast| forecast.seconds / f64::from(steps.max(1)));
    let seconds_per_step = recent_seconds.or(forecast_step);
    let left = f64::from(steps.saturating_sub(step));
    let remaining = seconds_per_step.filter(|_| running).map(|seconds| (seconds * left * 1e3).round() as u64);
    let ahead = if state == TrainingState::Queued {
        let another = shared.training.active().as_ref().is_some_and(|active| active.id != row.id);
        Some(u32::try_from(before).unwrap_or(u32::MAX) + u32::from(another))
    } else {
        None
    };
    let waited_ms = active.as_ref().map_or(row.waited_ms, |active| active.waited_ms.max(row.waited_ms));
    let active = active.filter(|_| running);
    Ok(TrainingRun {
        name: request.name,
        dataset: request.dataset,
        learning_rate_halved: row.halved(),
        dataset_hash: row.dataset_hash,
        config: request.config,
        class_dataset: request.class_dataset,
        class_prompt: request.class_prompt,
        continue_from: request.continue_from,
        note: request.note,
        state,
        created_at: row.created_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
        step,
        steps,
        phase: active.as_ref().map(|active| active.stage),
        ahead,
        seconds_per_step,
        unit_seconds: active.map(|active| active.unit.as_secs_f64()).filter(|seconds| *seconds > 0.0),
        waited_seconds: waited_ms as f64 / 1e3,
        remaining_ms: remaining,
        error: row.error,
        version: row.version,
        first_held_out,
        last_held_out,
        forecast,
        id: row.id,
    })
}
