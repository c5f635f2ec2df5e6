//! What the admin sees and changes of the queue: jobs of every kind, and their order.

use std::sync::Arc;

use adire_protocol::{JobMove, JobQueue, QueuedJob};

use crate::{
    StudioError,
    job::reorder,
    shared::Shared,
    store::OpenJob,
    work::{self, Entry, Wait},
};

/// Everything that runs and waits; of the kinds that use the device, those first that go first.
pub(crate) async fn list(shared: &Shared) -> Result<JobQueue, StudioError> {
    let mut jobs = Vec::new();
    for kind in work::all_kinds() {
        let open = shared.store.open_jobs(kind.kind(), kind.about()).await?;
        for (at, job) in open.iter().enumerate() {
            let wait = if job.is_running() { None } else { Some(kind.wait(shared, job, &open[..at]).await?) };
            jobs.push(entry(job, kind.entry(job)?, wait));
        }
    }
    Ok(JobQueue { paused: shared.work.intake().paused, jobs })
}

fn entry(job: &OpenJob, Entry { kind, title, detail, page }: Entry, wait: Option<Wait>) -> QueuedJob {
    let owner = Some(job.owner.chars().take(8).collect::<String>()).filter(|owner| !owner.is_empty());
    let (why, wait_ms) = wait.map_or((None, None), |Wait { why, ms }| (Some(why), ms));
    QueuedJob {
        kind,
        running: job.is_running(),
        title,
        detail,
        owner,
        network: job.network.clone(),
        cost_ms: job.cost.cast_unsigned(),
        wait_ms,
        why,
        created_at: job.created_at,
        page,
        id: job.id.clone(),
    }
}

/// Cancels a job of any kind.
pub(crate) async fn cancel(shared: Arc<Shared>, id: String) -> Result<(), StudioError> {
    let missing = || StudioError::not_found("job", &id);
    let (kind, _) = shared.store.kind_and_state(&id).await?.ok_or_else(missing)?;
    work::cancel_or_refuse(&shared, &id, work::kind_of(kind)).await
}

/// Moves a queued job among those of its kind.
pub(crate) async fn reposition(shared: Arc<Shared>, id: String, to: JobMove) -> Result<(), StudioError> {
    let found = shared.store.kind_and_state(&id).await?;
    let (kind, _) = found.ok_or_else(|| StudioError::not_found("job", &id))?;
    let waiting = shared.store.waiting(kind, &shared.model.hash).await?;
    let waiting: Vec<(String, i64)> = waiting.into_iter().map(|(id, queued)| (id, queued.turn)).collect();
    let Some(at) = waiting.iter().position(|(other, _)| *other == id) else {
        return Err(StudioError::Conflict("This job does not wait any more.".to_owned()));
    };
    let to = match to {
        JobMove::Front => 0,
        JobMove::Earlier => at.saturating_sub(1),
        JobMove::Later => (at + 1).min(waiting.len() - 1),
    };
    shared.store.set_turns(&reorder(waiting, at, to)).await?;
    work::refresh(&shared).await?;
    shared.work.notify_all();
    Ok(())
}
