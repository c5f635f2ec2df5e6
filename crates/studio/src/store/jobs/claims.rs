//! Claims: jobs are taken by compare-and-set and held under a lease.

use sqlx::{Any, Transaction};

use super::{Release, clock, first_of, new_lease, next_event, note};
use crate::{
    StudioError,
    job::{Asked, Candidate, Claimed, JobKind, Lease, NUMBERS_PER_LEASE, WriteError},
    store::{
        Kind, Store,
        batch::{Batch, Statement},
        sql, storage,
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
    struct TakenRow {
        lease: i64,
        attempts: i64,
        turn: i64,
        cost: i64,
        wants: String,
    }
}

/// The first statement of a holder that has gained something: it gives the number of the event, at least `least`.
pub(in crate::store) fn held(lease: &Lease, least: u64) -> Statement {
    let text = format!(
        "UPDATE jobs SET {}, attempts = 0 WHERE id = $1 AND state = 'running' AND lease = $2 RETURNING last_event",
        next_event("$3")
    );
    Statement::of(text).bind(&lease.job).bind(lease.number).bind(least.cast_signed())
}

impl Store {
    /// Whether only this process writes: then it knows all that waits.
    pub(crate) fn is_alone(&self) -> bool {
        self.kind == Kind::Sqlite
    }

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
    pub(crate) async fn take(&self, id: &str, node: &str) -> Result<Option<Claimed>, StudioError> {
        let now = clock(self.kind);
        let text = format!(
            "UPDATE jobs SET state = 'running', {}, holder = $2, lease_end = {now} + {LEASE_MS}, \
             started_at = COALESCE(started_at, {now}), finished_at = NULL, error = NULL, attempts = attempts + 1 \
             WHERE id = $1 AND state = 'queued' RETURNING lease, attempts, turn, cost, wants",
            new_lease()
        );
        let mut batch = Batch::default();
        let taken = batch.add(Statement::of(text).bind(id).bind(node));
        // Where it was not taken, there is nothing that has just begun.
        let text = format!(
            "INSERT INTO job_events (job, number, name) SELECT id, last_event, 'started' FROM jobs \
             WHERE id = $1 AND state = 'running' AND holder = $2 AND last_event = lease * {NUMBERS_PER_LEASE} \
             ON CONFLICT (job, number) DO NOTHING"
        );
        batch.add(Statement::of(text).bind(id).bind(node));
        let taken: Vec<TakenRow> = self.at_once(batch, false).await?.of(taken)?;
        Ok(taken.into_iter().next().map(|TakenRow { lease, attempts, turn, cost, wants }| Claimed {
            lease: Lease { job: id.to_owned(), number: lease },
            turn,
            cost,
            wants,
            attempts,
        }))
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
    pub(in crate::store) async fn change_held(
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

    /// Begins a transaction of the holder whose change is an event by itself, of that name.
    pub(in crate::store) async fn change_noted(
        &self,
        lease: &Lease,
        name: &str,
    ) -> Result<Transaction<'static, Any>, WriteError> {
        let (mut change, number) = self.change_held(lease, 0).await?;
        note(&mut change, &lease.job, number, name).await?;
        Ok(change)
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

    /// Sets how often a job was claimed without gaining anything.
    #[cfg(test)]
    pub(crate) async fn count_attempts(&self, id: &str, attempts: i64) {
        sqlx::query("UPDATE jobs SET attempts = $2 WHERE id = $1")
            .bind(id)
            .bind(attempts)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// The state of a job and its error.
    #[cfg(test)]
    pub(crate) async fn state_and_error(&self, id: &str) -> (String, String) {
        let row: (String, Option<String>) = sqlx::query_as("SELECT state, error FROM jobs WHERE id = $1")
            .bind(id)
            .fetch_one(&self.pool)
            .await
            .unwrap();
        (row.0, row.1.unwrap_or_default())
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
