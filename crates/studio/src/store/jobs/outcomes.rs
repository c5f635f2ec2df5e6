//! How jobs come to rest: they end, are put aside, wait again, or are asked to.

use sqlx::AnyConnection;

use super::{clock, event, first_of, new_lease, next_event, note};
use crate::{
    StudioError,
    job::{Asked, EndedBy, JobKind, JobState, Lease, Outcome},
    stats::cause,
    store::{
        Kind, Store,
        batch::{Batch, Statement},
        shadow_pairs, sql, stats, storage,
    },
};

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

/// What every statement sets after which nobody holds a job: the one place where ends are written. `state`, `error` and `now`
/// are expressions.
fn at_rest(state: &str, error: &str, now: &str) -> String {
    format!(
        "state = {state}, error = {error}, holder = NULL, lease_end = NULL, \
         finished_at = CASE WHEN {state} IN ('done', 'failed', 'cancelled') THEN {now} ELSE NULL END"
    )
}

/// What follows from the end of a job, in the transaction that writes it: of a generation, its network is forgotten and the
/// statistics have it.
fn follow_up(batch: &mut Batch, id: &str, kind: JobKind, state: JobState, cause: &str) {
    if kind == JobKind::Generation && state.has_ended() {
        batch.add(forget_network(id));
        stats::record(batch, id, cause);
    }
}

/// States for a list in a statement: names of ours, nothing that came from outside.
fn names(states: &[JobState]) -> String {
    states.iter().map(|state| format!("'{}'", state.name())).collect::<Vec<_>>().join(", ")
}

/// Forgets the network of a generation that has ended.
fn forget_network(id: &str) -> Statement {
    Statement::of("UPDATE generations SET network = NULL WHERE id = $1").bind(id)
}

/// The first statement of a holder that has gained the last that there was to gain, and ends the job with it: it gives the
/// number of the end, which follows that of the event before, at least `least`.
pub(in crate::store) fn held_to_its_end(kind: Kind, lease: &Lease, least: u64) -> Statement {
    let text = format!(
        "UPDATE jobs SET {}, asked = NULL, last_event = CASE WHEN last_event >= $3 THEN last_event + 2 ELSE $3 + 1 END \
         WHERE id = $1 AND state = 'running' AND lease = $2 RETURNING last_event",
        at_rest("'done'", "NULL", clock(kind))
    );
    Statement::of(text).bind(&lease.job).bind(lease.number).bind(least.cast_signed())
}

/// The event of a job's newest number, which has no other row.
pub(in crate::store) fn noted(id: &str, state: JobState) -> Statement {
    Statement::of(
        "INSERT INTO job_events (job, number, name) SELECT id, last_event, $2 FROM jobs WHERE id = $1",
    )
    .bind(id)
    .bind(state.name())
}

impl Store {
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

    /// Ends a job, or puts it aside. The number of the event, or `None` where `by` may not end it (any more).
    pub(crate) async fn end(
        &self,
        by: EndedBy<'_>,
        outcome: Outcome<'_>,
    ) -> Result<Option<u64>, StudioError> {
        let mut change = self.change().await?;
        let number = self.end_in(&mut change, by, outcome).await?;
        if number.is_some() {
            change.commit().await.map_err(storage)?;
        }
        Ok(number)
    }

    /// The same, as part of a change.
    pub(in crate::store) async fn end_in(
        &self,
        change: &mut AnyConnection,
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
            "UPDATE jobs SET {}, {change_and_where} RETURNING last_event, kind",
            at_rest("$2", "$3", clock(self.kind))
        );
        let mut query = sqlx::query_as(sql(text)).bind(id).bind(outcome.state().name()).bind(error);
        if let EndedBy::Holder(lease, least) = by {
            query = query.bind(lease.number).bind(least.cast_signed());
        }
        let ended: Vec<(i64, String)> = query.fetch_all(&mut *change).await.map_err(storage)?;
        let Some((number, kind)) = ended.first() else { return Ok(None) };
        let (state, kind) = (outcome.state(), JobKind::of(kind));
        let mut batch = Batch::default();
        batch.add(event(id, *number, state.name()));
        let mut counting = None;
        if let Some(kind) = kind {
            counting = (kind == JobKind::Generation && state == JobState::Done)
                .then(|| batch.add(shadow_pairs::counting(id)));
            let cause = if let Outcome::Failed(error) = outcome { cause(error) } else { "" };
            follow_up(&mut batch, id, kind, state, cause);
        }
        if let Outcome::Done { version: Some(version) } = outcome {
            let text = "UPDATE training_jobs SET version = $2 WHERE id = $1";
            batch.add(Statement::of(text).bind(id).bind(version));
        }
        let rows = batch.run(change).await?;
        if let Some(counting) = counting {
            shadow_pairs::count(change, id, rows.of(counting)?).await?;
        }
        Ok(Some(number.cast_unsigned()))
    }

    /// Takes jobs from holders that are gone, or that put them back: they wait again, or become what was requested.
    pub(crate) async fn release(&self, of: Release<'_>) -> Result<Vec<Released>, StudioError> {
        let now = clock(self.kind);
        let (condition, id, number, attempts) = match of {
            Release::Held(lease) => ("id = $1 AND lease = $2", lease.job.as_str(), lease.number, "0"),
            Release::Node(node) => ("holder = $1 AND lease >= $2", node, 0, "attempts"),
            Release::Ended => ("lease_end < {now} AND id <> $1 AND lease >= $2", "", 0, "attempts"),
        };
        let condition = condition.replace("{now}", now);
        let mut change = self.change().await?;
        let state = "CASE asked WHEN 'pause' THEN 'paused' WHEN 'cancel' THEN 'cancelled' ELSE 'queued' END";
        let text = format!(
            "UPDATE jobs SET {}, attempts = {attempts}, {} WHERE state = 'running' AND {condition} \
             RETURNING id, kind, state, lease",
            at_rest(state, "NULL", now),
            new_lease()
        );
        let rows: Vec<(String, String, String, i64)> =
            sqlx::query_as(sql(text)).bind(id).bind(number).fetch_all(&mut *change).await.map_err(storage)?;
        let mut released = Vec::new();
        for (id, kind, state, lease) in rows {
            // The column's check leaves no other state, and no other kind is written.
            let (Some(kind), Some(state)) = (JobKind::of(&kind), JobState::of(&state)) else { continue };
            let mut batch = Batch::default();
            batch.add(event(&id, first_of(lease), state.name()));
            follow_up(&mut batch, &id, kind, state, "");
            batch.run(&mut change).await?;
            released.push(Released { id, kind, state, event: first_of(lease).cast_unsigned() });
        }
        change.commit().await.map_err(storage)?;
        Ok(released)
    }
}
