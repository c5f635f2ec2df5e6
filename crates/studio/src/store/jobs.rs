//! Rows of jobs, and who may change them: a job is claimed by compare-and-set, and every write of its holder begins with
//! a statement that finds the row under the holder's lease, locks it and hands out the number of the event. Time is the
//! database's.

use adire_protocol::{GenerationSpec, TrainingRequest};
use sqlx::{Any, Transaction};

use super::{Kind, Store, decode, sql, sql::storable, storage};
use crate::{
    StudioError,
    work::{
        Asked, Candidate, Claimed, EndedBy, JobKind, JobState, Lease, NUMBERS_PER_LEASE, NewJob, Outcome,
        Queued, WriteError, turn,
    },
};

/// How long a claim lasts unless it is renewed, in milliseconds.
const LEASE_MS: i64 = 15_000;

row! {
    struct CandidateRow {
        id: String,
        wants: String,
        turn: i64,
        cost: i64,
    }
}

row! {
    /// A job that waits or runs, with what it is about.
    #[derive(Clone, Debug)]
    pub(crate) struct OpenJob {
        pub(crate) id: String,
        kind: String,
        state: String,
        pub(crate) owner: String,
        pub(crate) cost: i64,
        pub(crate) wants: String,
        pub(crate) created_at: i64,
        pub(crate) network: Option<String>,
        spec: Option<String>,
        request: Option<String>,
    }
}

impl OpenJob {
    pub(crate) fn is_running(&self) -> bool {
        self.state == JobState::Running.name()
    }

    pub(crate) fn kind(&self) -> JobKind {
        JobKind::of(&self.kind).unwrap_or(JobKind::Generation)
    }

    pub(crate) fn spec(&self) -> Result<GenerationSpec, StudioError> {
        decode(self.spec.as_deref().unwrap_or_default(), "request", &self.id)
    }

    pub(crate) fn request(&self) -> Result<TrainingRequest, StudioError> {
        decode(self.request.as_deref().unwrap_or_default(), "training", &self.id)
    }
}

/// A job that nobody holds any more, because its holder is gone or has put it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Released {
    pub(crate) id: String,
    pub(crate) kind: JobKind,
    pub(crate) state: JobState,
    /// The event that says what became of it.
    pub(crate) event: u64,
}

/// Whose jobs are released.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Release<'a> {
    /// The holder's own, in order: it does not count as an attempt.
    Held(&'a Lease),
    /// Those of a node that is starting again.
    Node(&'a str),
    /// Those whose leases have ended.
    Ended,
}

/// Milliseconds since 1970 (UTC) by the database's clock.
fn clock(kind: Kind) -> &'static str {
    match kind {
        Kind::Sqlite => "CAST(unixepoch('subsec') * 1000 AS BIGINT)",
        Kind::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    }
}

/// What every statement sets that gives a job into other hands.
fn new_lease() -> String {
    format!("lease = lease + 1, last_event = (lease + 1) * {NUMBERS_PER_LEASE}, asked = NULL")
}

/// And one after which nobody holds it.
const NOT_HELD: &str = "holder = NULL, lease_end = NULL";

/// What gives the next event of a lease its number; `least` is the parameter that it is not below.
fn next_event(least: &str) -> String {
    format!("last_event = CASE WHEN last_event >= {least} THEN last_event + 1 ELSE {least} END")
}

/// States for a list in a statement: names of ours, nothing that came from outside.
fn names(states: &[JobState]) -> String {
    states.iter().map(|state| format!("'{}'", state.name())).collect::<Vec<_>>().join(", ")
}

/// The number of the first event of a lease.
fn first_of(lease: i64) -> i64 {
    lease * NUMBERS_PER_LEASE
}

async fn note(
    change: &mut Transaction<'_, Any>,
    job: &str,
    number: i64,
    name: &str,
) -> Result<(), StudioError> {
    sqlx::query("INSERT INTO job_events (job, number, name) VALUES ($1, $2, $3)")
        .bind(job)
        .bind(number)
        .bind(name)
        .execute(&mut **change)
        .await
        .map_err(storage)?;
    Ok(())
}

/// Forgets the network of a generation that has ended.
async fn forget_network(change: &mut Transaction<'_, Any>, id: &str) -> Result<(), StudioError> {
    sqlx::query("UPDATE generations SET network = NULL WHERE id = $1")
        .bind(id)
        .execute(&mut **change)
        .await
        .map_err(storage)?;
    Ok(())
}

/// Puts a job into the queue, in the transaction that writes what it is about.
pub(super) async fn insert_job(
    change: &mut Transaction<'_, Any>,
    job: &NewJob,
) -> Result<Queued, StudioError> {
    let (now, owner): (i64, i64) = sqlx::query_as(
        "SELECT COALESCE((SELECT MAX(turn) FROM jobs WHERE kind = $1 AND started_at IS NOT NULL), 0), \
         COALESCE((SELECT turn + cost FROM jobs WHERE kind = $1 AND owner = $2 \
          AND (started_at IS NOT NULL OR state IN ('queued', 'paused')) ORDER BY turn DESC LIMIT 1), 0)",
    )
    .bind(job.kind.name())
    .bind(&job.owner)
    .fetch_one(&mut **change)
    .await
    .map_err(storage)?;
    let turn = turn(now, owner);
    sqlx::query(
        "INSERT INTO jobs (id, kind, state, owner, turn, cost, wants, model, last_event, created_at) \
         VALUES ($1, $2, 'queued', $3, $4, $5, $6, $7, 1, $8)",
    )
    .bind(&job.id)
    .bind(job.kind.name())
    .bind(&job.owner)
    .bind(turn)
    .bind(job.cost)
    .bind(&job.wants)
    .bind(&job.model)
    .bind(job.created_at)
    .execute(&mut **change)
    .await
    .map_err(storage)?;
    note(change, &job.id, 1, "queued").await?;
    Ok(Queued { turn, event: 1 })
}

/// Something was gained: claims before do not count any more.
pub(super) async fn forget_attempts(change: &mut Transaction<'_, Any>, id: &str) -> Result<(), StudioError> {
    sqlx::query("UPDATE jobs SET attempts = 0 WHERE id = $1")
        .bind(id)
        .execute(&mut **change)
        .await
        .map_err(storage)?;
    Ok(())
}

/// Takes a job out for good.
pub(super) async fn delete_job(change: &mut Transaction<'_, Any>, id: &str) -> Result<(), StudioError> {
    for text in ["DELETE FROM job_events WHERE job = $1", "DELETE FROM jobs WHERE id = $1"] {
        sqlx::query(text).bind(id).execute(&mut **change).await.map_err(storage)?;
    }
    Ok(())
}

impl Store {
    /// The first of those that wait.
    pub(crate) async fn candidates(
        &self,
        kind: JobKind,
        model: &str,
        limit: i64,
    ) -> Result<Vec<Candidate>, StudioError> {
        let rows: Vec<CandidateRow> = sqlx::query_as(
            "SELECT id, wants, turn, cost FROM jobs WHERE state = 'queued' AND kind = $1 AND model = $2 \
             ORDER BY turn, id LIMIT $3",
        )
        .bind(kind.name())
        .bind(model)
        .bind(limit)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        let candidate =
            |CandidateRow { id, wants, turn, cost }: CandidateRow| Candidate { id, wants, turn, cost };
        Ok(rows.into_iter().map(candidate).collect())
    }

    /// Claims a job; `None`: it does not wait any more.
    pub(crate) async fn take(
        &self,
        candidate: &Candidate,
        node: &str,
    ) -> Result<Option<Claimed>, StudioError> {
        let mut change = self.change().await?;
        let now = clock(self.kind);
        let text = format!(
            "UPDATE jobs SET state = 'running', {}, holder = $2, lease_end = {now} + {LEASE_MS}, \
             started_at = COALESCE(started_at, {now}), finished_at = NULL, error = NULL, attempts = attempts + 1 \
             WHERE id = $1 AND state = 'queued' RETURNING lease, attempts",
            new_lease()
        );
        let taken: Vec<(i64, i64)> = sqlx::query_as(sql(text))
            .bind(&candidate.id)
            .bind(node)
            .fetch_all(&mut *change)
            .await
            .map_err(storage)?;
        let Some(&(number, attempts)) = taken.first() else { return Ok(None) };
        note(&mut change, &candidate.id, first_of(number), "started").await?;
        change.commit().await.map_err(storage)?;
        let Candidate { id, wants, turn, cost } = candidate.clone();
        Ok(Some(Claimed { lease: Lease { job: id, number }, turn, cost, wants, attempts }))
    }

    /// Renews a lease; what the holder is asked to do.
    pub(crate) async fn beat(&self, lease: &Lease) -> Result<Option<Asked>, WriteError> {
        let text = format!(
            "UPDATE jobs SET lease_end = {} + {LEASE_MS} WHERE id = $1 AND state = 'running' AND lease = $2 \
             RETURNING asked",
            clock(self.kind)
        );
        let rows: Vec<(Option<String>,)> = sqlx::query_as(sql(text))
            .bind(&lease.job)
            .bind(lease.number)
            .fetch_all(&self.pool)
            .await
            .map_err(storage)?;
        let (asked,) = rows.first().ok_or(WriteError::LeaseLost)?;
        Ok(asked.as_deref().and_then(Asked::of))
    }

    /// Begins a transaction of the holder, and gives the number of its event, at least `least`. Nobody else can change
    /// the job until it ends.
    pub(super) async fn change_held(
        &self,
        lease: &Lease,
        least: u64,
    ) -> Result<(Transaction<'static, Any>, i64), WriteError> {
        let mut change = self.change().await?;
        let numbers: Vec<(i64,)> = sqlx::query_as(sql(format!(
            "UPDATE jobs SET {} WHERE id = $1 AND state = 'running' AND lease = $2 RETURNING last_event",
            next_event("$3")
        )))
        .bind(&lease.job)
        .bind(lease.number)
        .bind(least.cast_signed())
        .fetch_all(&mut *change)
        .await
        .map_err(storage)?;
        let (number,) = numbers.first().ok_or(WriteError::LeaseLost)?;
        Ok((change, *number))
    }

    /// Asks the holder of a job to stop; whether somebody holds it.
    pub(crate) async fn ask(&self, id: &str, asked: Asked) -> Result<bool, StudioError> {
        let done = sqlx::query(
            "UPDATE jobs SET asked = CASE WHEN asked = 'cancel' THEN asked ELSE $2 END \
             WHERE id = $1 AND state = 'running'",
        )
        .bind(id)
        .bind(asked.name())
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(done.rows_affected() > 0)
    }

    /// Has a job at rest wait again, or takes back that its holder was asked to pause; whether there was one to resume.
    pub(crate) async fn resume(&self, id: &str) -> Result<bool, StudioError> {
        let mut change = self.change().await?;
        let text = format!(
            "UPDATE jobs SET state = 'queued', {}, finished_at = NULL, error = NULL, attempts = 0 \
             WHERE id = $1 AND state IN ({}) RETURNING lease",
            new_lease(),
            names(&[JobState::Paused, JobState::Failed])
        );
        let resumed: Vec<(i64,)> =
            sqlx::query_as(sql(text)).bind(id).fetch_all(&mut *change).await.map_err(storage)?;
        let Some(number) = resumed.first().map(|(lease,)| first_of(*lease)) else {
            let text = "UPDATE jobs SET asked = NULL WHERE id = $1 AND state = 'running' AND asked = 'pause'";
            let done = sqlx::query(text).bind(id).execute(&mut *change).await.map_err(storage)?;
            change.commit().await.map_err(storage)?;
            return Ok(done.rows_affected() > 0);
        };
        note(&mut change, id, number, JobState::Queued.name()).await?;
        change.commit().await.map_err(storage)?;
        Ok(true)
    }

    /// Ends a job, or puts it aside: the one place where that is written. The number of the event, or `None` where
    /// `by` may not end it (any more).
    pub(crate) async fn end(
        &self,
        by: EndedBy<'_>,
        outcome: Outcome<'_>,
    ) -> Result<Option<u64>, StudioError> {
        let error = match outcome {
            Outcome::Failed(error) => Some(error),
            Outcome::Cancelled { why } => why,
            Outcome::Done { .. } | Outcome::Paused => None,
        };
        let (id, change_and_where) = match by {
            EndedBy::Holder(lease, _) => (
                lease.job.as_str(),
                format!(
                    "{}, asked = NULL WHERE id = $1 AND state = 'running' AND lease = $4",
                    next_event("$5")
                ),
            ),
            EndedBy::NotHeld { id, from } => {
                (id, format!("{} WHERE id = $1 AND state IN ({})", new_lease(), names(from)))
            }
        };
        let text = format!(
            "UPDATE jobs SET state = $2, error = $3, {NOT_HELD}, \
             finished_at = CASE WHEN $2 = 'paused' THEN NULL ELSE {} END, {change_and_where} \
             RETURNING last_event, kind",
            clock(self.kind)
        );
        let mut change = self.change().await?;
        let mut query = sqlx::query_as(sql(text)).bind(id).bind(outcome.state().name()).bind(error);
        if let EndedBy::Holder(lease, least) = by {
            query = query.bind(lease.number).bind(least.cast_signed());
        }
        let ended: Vec<(i64, String)> = query.fetch_all(&mut *change).await.map_err(storage)?;
        let Some((number, kind)) = ended.first() else { return Ok(None) };
        if kind == JobKind::Generation.name() {
            forget_network(&mut change, id).await?;
        }
        if let Outcome::Done { version: Some(version) } = outcome {
            sqlx::query("UPDATE training_jobs SET version = $2 WHERE id = $1")
                .bind(id)
                .bind(version)
                .execute(&mut *change)
                .await
                .map_err(storage)?;
        }
        note(&mut change, id, *number, outcome.state().name()).await?;
        change.commit().await.map_err(storage)?;
        Ok(Some(number.cast_unsigned()))
    }

    /// Takes jobs from holders that are gone, or that put them back: they wait again, or become what was asked for.
    pub(crate) async fn release(&self, of: Release<'_>) -> Result<Vec<Released>, StudioError> {
        let now = clock(self.kind);
        let (condition, id, number, attempts) = match of {
            Release::Held(lease) => ("id = $1 AND lease = $2", lease.job.as_str(), lease.number, "0"),
            Release::Node(node) => ("holder = $1 AND lease >= $2", node, 0, "attempts"),
            Release::Ended => ("lease_end < {now} AND id <> $1 AND lease >= $2", "", 0, "attempts"),
        };
        let condition = condition.replace("{now}", now);
        let mut change = self.change().await?;
        let text = format!(
            "UPDATE jobs SET state = CASE asked WHEN 'pause' THEN 'paused' WHEN 'cancel' THEN 'cancelled' \
             ELSE 'queued' END, finished_at = CASE WHEN asked = 'cancel' THEN {now} ELSE NULL END, \
             attempts = {attempts}, {}, {NOT_HELD} WHERE state = 'running' AND {condition} \
             RETURNING id, kind, state, lease",
            new_lease()
        );
        let rows: Vec<(String, String, String, i64)> =
            sqlx::query_as(sql(text)).bind(id).bind(number).fetch_all(&mut *change).await.map_err(storage)?;
        let mut released = Vec::new();
        for (id, kind, state, lease) in rows {
            note(&mut change, &id, first_of(lease), &state).await?;
            // The columns' checks leave no other words.
            let (Some(kind), Some(state)) = (JobKind::of(&kind), JobState::of(&state)) else { continue };
            if kind == JobKind::Generation && state == JobState::Cancelled {
                forget_network(&mut change, &id).await?;
            }
            released.push(Released { id, kind, state, event: first_of(lease).cast_unsigned() });
        }
        change.commit().await.map_err(storage)?;
        Ok(released)
    }

    /// A node starts: what waits is for its model from now on, and events get numbers above all that were given before
    /// but not stored.
    pub(crate) async fn take_up(&self, node: &str, model: &str) -> Result<(), StudioError> {
        let mut change = self.change().await?;
        let text =
            format!("UPDATE jobs SET model = $1, {} WHERE state = 'queued' RETURNING id, lease", new_lease());
        let rows: Vec<(String, i64)> =
            sqlx::query_as(sql(text)).bind(model).fetch_all(&mut *change).await.map_err(storage)?;
        for (id, lease) in rows {
            note(&mut change, &id, first_of(lease), "queued").await?;
        }
        sqlx::query("UPDATE jobs SET model = $1 WHERE state IN ('running', 'paused', 'failed')")
            .bind(model)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        change.commit().await.map_err(storage)?;
        self.release(Release::Node(node)).await?;
        self.release(Release::Ended).await?;
        Ok(())
    }

    /// Events of a job with a number above `after` that have no other row, oldest first.
    pub(crate) async fn job_events(&self, id: &str, after: u64) -> Result<Vec<(u64, String)>, StudioError> {
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "SELECT number, name FROM job_events WHERE job = $1 AND number > $2 ORDER BY number",
        )
        .bind(id)
        .bind(i64::try_from(after).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        Ok(rows.into_iter().map(|(number, name)| (number.cast_unsigned(), name)).collect())
    }

    /// Everything of a kind that waits for a model, in order, with the numbers of the newest events.
    pub(crate) async fn waiting(
        &self,
        kind: JobKind,
        model: &str,
    ) -> Result<Vec<(String, Queued)>, StudioError> {
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(
            "SELECT id, turn, last_event FROM jobs WHERE state = 'queued' AND kind = $1 AND model = $2 \
             ORDER BY turn, id",
        )
        .bind(kind.name())
        .bind(model)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        let queued =
            |(id, turn, event): (String, i64, i64)| (id, Queued { turn, event: event.cast_unsigned() });
        Ok(rows.into_iter().map(queued).collect())
    }

    /// Everything that runs or waits: generations, then trainings, those that run first.
    pub(crate) async fn open_jobs(&self) -> Result<Vec<OpenJob>, StudioError> {
        sqlx::query_as(
            "SELECT j.id, j.kind, j.state, j.owner, j.cost, j.wants, j.created_at, g.network, g.spec, t.request \
             FROM jobs j LEFT JOIN generations g ON g.id = j.id LEFT JOIN training_jobs t ON t.id = j.id \
             WHERE j.state IN ('queued', 'running') \
             ORDER BY j.kind, CASE j.state WHEN 'running' THEN 0 ELSE 1 END, j.turn, j.id",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(storage)
    }

    /// The kind of a job; `None`: there is no such job.
    pub(crate) async fn kind_of(&self, id: &str) -> Result<Option<JobKind>, StudioError> {
        if !storable(id) {
            return Ok(None);
        }
        let row: Option<(String,)> = sqlx::query_as("SELECT kind FROM jobs WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)?;
        Ok(row.and_then(|(kind,)| JobKind::of(&kind)))
    }

    /// Gives waiting jobs other turns.
    pub(crate) async fn set_turns(&self, turns: &[(String, i64)]) -> Result<(), StudioError> {
        let mut change = self.change().await?;
        for (id, turn) in turns {
            sqlx::query("UPDATE jobs SET turn = $2 WHERE id = $1 AND state = 'queued'")
                .bind(id)
                .bind(turn)
                .execute(&mut *change)
                .await
                .map_err(storage)?;
        }
        change.commit().await.map_err(storage)
    }

    /// Ids of those that wait and were created before `before`.
    pub(crate) async fn waiting_since_before(
        &self,
        kind: JobKind,
        before: i64,
    ) -> Result<Vec<String>, StudioError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT id FROM jobs WHERE state = 'queued' AND kind = $1 AND created_at < $2 ORDER BY turn, id",
        )
        .bind(kind.name())
        .bind(before)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// A lease on a job in whatever state.
    #[cfg(test)]
    pub(crate) async fn hold_again(&self, id: &str) -> Lease {
        let rows: Vec<(i64,)> =
            sqlx::query_as("UPDATE jobs SET state = 'running' WHERE id = $1 RETURNING lease")
                .bind(id)
                .fetch_all(&self.pool)
                .await
                .unwrap();
        Lease { job: id.to_owned(), number: rows[0].0 }
    }

    /// Has a lease end, as if its holder had been silent for long enough.
    #[cfg(test)]
    pub(crate) async fn end_lease(&self, id: &str) {
        sqlx::query("UPDATE jobs SET lease_end = 0 WHERE id = $1")
            .bind(id)
            .execute(&self.pool)
            .await
            .unwrap();
    }
}
