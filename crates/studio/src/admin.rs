//! What the admin sees and changes of the queue: jobs of every kind, and their order.

use std::sync::Arc;

use adire_protocol::{JobMove, JobQueue, Links, QueuedJob, QueuedKind};

use crate::{
    By, StudioError, evaluations,
    job::{JobKind, reorder},
    pushes, requests,
    shared::Shared,
    store::OpenJob,
    training, work,
};

/// Characters of a prompt that the list shows.
const PROMPT_SHOWN: usize = 200;
/// Everything that runs and waits.
pub(crate) async fn list(shared: &Shared) -> Result<JobQueue, StudioError> {
    let rows = shared.store.open_jobs().await?;
    let mut ahead = 0;
    let mut jobs = Vec::with_capacity(rows.len());
    for row in rows {
        let running = row.is_running();
        let kind = row.kind();
        let why = (!running).then(|| match kind {
            JobKind::Generation if shared.work.is_resident(&row.wants) && ahead > 0 => {
                format!("behind {}; its adapters are loaded", others(ahead))
            }
            JobKind::Generation if ahead == 0 => "next".to_owned(),
            JobKind::Generation => format!("behind {}", others(ahead)),
            JobKind::Training | JobKind::Evaluation => "runs between generations".to_owned(),
            JobKind::Push => "one push at a time".to_owned(),
        });
        ahead += u32::from(kind == JobKind::Generation);
        jobs.push(entry(shared, row, running, why)?);
    }
    Ok(JobQueue { paused: shared.work.intake().paused, jobs })
}

fn others(count: u32) -> String {
    if count == 1 { "1 other".to_owned() } else { format!("{count} others") }
}

fn entry(
    shared: &Shared,
    row: OpenJob,
    running: bool,
    why: Option<String>,
) -> Result<QueuedJob, StudioError> {
    let (kind, title, detail, page) = match row.kind() {
        JobKind::Generation => {
            let spec = row.spec()?;
            let (width, height) = spec.final_size();
            let detail = format!("{} × {width} × {height}, {} steps", spec.count, spec.total_steps());
            let title = spec.prompt.chars().take(PROMPT_SHOWN).collect();
            (QueuedKind::Generation, title, detail, Links::of(&row.id).page)
        }
        JobKind::Training => {
            let request = row.request()?;
            let detail = format!("training, {} steps", request.config.steps);
            (QueuedKind::Training, request.name, detail, format!("/admin/training/{}", row.id))
        }
        JobKind::Evaluation => {
            let request = row.evaluation()?;
            let detail = "evaluation".to_owned();
            (QueuedKind::Evaluation, request.version, detail, format!("/admin/evaluations/{}", row.id))
        }
        JobKind::Push => {
            let title = row.push().to_owned();
            let page = format!("/admin/versions/{}", title.split(' ').next().unwrap_or_default());
            (QueuedKind::Push, title, "push to the Hub".to_owned(), page)
        }
    };
    let wait_ms = shared.work.place(&row.id).and_then(|place| place.wait_ms);
    let owner = Some(row.owner.chars().take(8).collect::<String>()).filter(|owner| !owner.is_empty());
    Ok(QueuedJob {
        kind,
        running,
        title,
        detail,
        owner,
        network: row.network,
        cost_ms: row.cost.cast_unsigned(),
        wait_ms,
        why,
        created_at: row.created_at,
        page,
        id: row.id,
    })
}

/// Cancels a job of any kind.
pub(crate) async fn cancel(shared: Arc<Shared>, id: String) -> Result<(), StudioError> {
    match shared.store.kind_of(&id).await? {
        Some(JobKind::Generation) => requests::cancel(shared, id, By::Admin.into()).await.map(drop),
        Some(JobKind::Training) => training::cancel(shared, id).await.map(drop),
        Some(JobKind::Evaluation) => evaluations::cancel(shared, id).await.map(drop),
        Some(JobKind::Push) => pushes::cancel(&shared, &id).await.map(drop),
        None => Err(StudioError::not_found("job", &id)),
    }
}

/// Moves a queued job among those of its kind.
pub(crate) async fn reposition(shared: Arc<Shared>, id: String, to: JobMove) -> Result<(), StudioError> {
    let kind = shared.store.kind_of(&id).await?.ok_or_else(|| StudioError::not_found("job", &id))?;
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
