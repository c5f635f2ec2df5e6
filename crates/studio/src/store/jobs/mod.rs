//! Rows of jobs, and who may change them: a job is claimed by compare-and-set, and every write of its holder begins with
//! a statement that finds the row under the holder's lease, locks it and hands out the number of the event. Time is the
//! database's.

mod claims;
mod lists;
mod outcomes;

use sqlx::{Any, AnyConnection, Transaction};

pub(in crate::store) use claims::held;
pub(crate) use lists::{About, OpenJob};
pub(crate) use outcomes::Release;
pub(in crate::store) use outcomes::{held_to_its_end, noted};

use super::{
    Kind,
    batch::{Batch, Rows, Statement},
    storage,
};
use crate::{
    StudioError,
    job::{NUMBERS_PER_LEASE, NewJob, Queued},
};

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

/// What gives the next event of a lease its number; `least` is the parameter that it is not below.
fn next_event(least: &str) -> String {
    format!("last_event = CASE WHEN last_event >= {least} THEN last_event + 1 ELSE {least} END")
}

/// The number of the first event of a lease.
fn first_of(lease: i64) -> i64 {
    lease * NUMBERS_PER_LEASE
}

/// An event that has no other row.
fn event(job: &str, number: i64, name: &str) -> Statement {
    Statement::of("INSERT INTO job_events (job, number, name) VALUES ($1, $2, $3)")
        .bind(job)
        .bind(number)
        .bind(name)
}

async fn note(change: &mut AnyConnection, job: &str, number: i64, name: &str) -> Result<(), StudioError> {
    let mut batch = Batch::default();
    batch.add(event(job, number, name));
    batch.run(change).await.map(drop)
}

/// Puts a job into the queue; its turn is in the rows of the place. What is due next needs no counting at the claim: see
/// `job/pick`, whose `turn` this computes.
pub(in crate::store) fn add_job(batch: &mut Batch, job: &NewJob) -> usize {
    let text = "INSERT INTO jobs (id, kind, state, owner, turn, cost, wants, model, last_event, created_at) \
                VALUES ($1, $2, 'queued', $3, (SELECT MAX(ends.due) FROM \
                (SELECT COALESCE((SELECT MAX(turn) FROM jobs WHERE kind = $2 AND started_at IS NOT NULL), 0) AS due \
                UNION ALL SELECT COALESCE((SELECT turn + cost FROM jobs WHERE kind = $2 AND owner = $3 \
                AND (started_at IS NOT NULL OR state IN ('queued', 'paused')) ORDER BY turn DESC LIMIT 1), 0)) AS ends), \
                $4, $5, $6, 1, $7) RETURNING turn";
    let place = batch.add(
        Statement::of(text)
            .bind(&job.id)
            .bind(job.kind.name())
            .bind(&job.owner)
            .bind(job.cost)
            .bind(&job.wants)
            .bind(&job.model)
            .bind(job.created_at),
    );
    batch.add(event(&job.id, 1, "queued"));
    place
}

/// Where a job was put.
pub(in crate::store) fn queued(rows: &Rows, place: usize) -> Result<Queued, StudioError> {
    let turns: Vec<(i64,)> = rows.of(place)?;
    Ok(Queued { turn: turns.first().map_or(0, |(turn,)| *turn), event: 1 })
}

/// Puts a job into the queue, in the transaction that writes what it is about.
pub(in crate::store) async fn insert_job(
    change: &mut AnyConnection,
    job: &NewJob,
) -> Result<Queued, StudioError> {
    let mut batch = Batch::default();
    let place = add_job(&mut batch, job);
    queued(&batch.run(change).await?, place)
}

/// Something was gained: claims before do not count any more.
pub(in crate::store) async fn forget_attempts(
    change: &mut Transaction<'_, Any>,
    id: &str,
) -> Result<(), StudioError> {
    sqlx::query("UPDATE jobs SET attempts = 0 WHERE id = $1")
        .bind(id)
        .execute(&mut **change)
        .await
        .map_err(storage)?;
    Ok(())
}

/// Takes a job out for good.
pub(in crate::store) async fn delete_job(
    change: &mut Transaction<'_, Any>,
    id: &str,
) -> Result<(), StudioError> {
    for text in ["DELETE FROM job_events WHERE job = $1", "DELETE FROM jobs WHERE id = $1"] {
        sqlx::query(text).bind(id).execute(&mut **change).await.map_err(storage)?;
    }
    Ok(())
}
