//! What is asked about jobs, and their order.

use serde::de::DeserializeOwned;

use crate::{
    StudioError,
    job::{JobKind, JobState, Queued},
    store::{Store, decode, sql, sql::storable, storage},
};

/// Where the rows of a kind say what a job is about: their table, as `a`, and what is read of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(in crate::store) table: &'static str,
    /// A text that the kind reads.
    pub(in crate::store) text: &'static str,
    /// The network that the request came from, where that is known.
    pub(in crate::store) network: &'static str,
}

impl About {
    /// Those of the admin have no network.
    pub(in crate::store) const fn of_admin(table: &'static str, text: &'static str) -> Self {
        Self { table, text, network: "CAST(NULL AS TEXT)" }
    }
}

row! {
    /// A job that waits or runs, with what it is about.
    #[derive(Clone, Debug)]
    pub(crate) struct OpenJob {
        pub(crate) id: String,
        state: String,
        pub(crate) owner: String,
        pub(crate) cost: i64,
        pub(crate) wants: String,
        pub(crate) created_at: i64,
        pub(crate) network: Option<String>,
        pub(crate) about: String,
    }
}

impl OpenJob {
    pub(crate) fn is_running(&self) -> bool {
        self.state == JobState::Running.name()
    }

    /// What it is about, as JSON.
    pub(crate) fn read<T: DeserializeOwned>(&self, what: &str) -> Result<T, StudioError> {
        decode(&self.about, what, &self.id)
    }
}

impl Store {
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

    /// The number of a job's newest event that has no other row; 0 without one.
    pub(crate) async fn newest_event(&self, id: &str) -> Result<u64, StudioError> {
        let (number,): (i64,) =
            sqlx::query_as("SELECT COALESCE(MAX(number), 0) FROM job_events WHERE job = $1")
                .bind(id)
                .fetch_one(&self.pool)
                .await
                .map_err(storage)?;
        Ok(number.cast_unsigned())
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

    /// Everything of a kind that runs or waits, in order, with what `about` says of it.
    pub(crate) async fn open_jobs(&self, kind: JobKind, about: About) -> Result<Vec<OpenJob>, StudioError> {
        let About { table, text, network } = about;
        sqlx::query_as(sql(format!(
            "SELECT j.id, j.state, j.owner, j.cost, j.wants, j.created_at, {network} AS network, {text} AS about \
             FROM jobs j JOIN {table} a ON a.id = j.id WHERE j.kind = $1 AND j.state IN ('queued', 'running') \
             ORDER BY CASE j.state WHEN 'running' THEN 0 ELSE 1 END, j.turn, j.id"
        )))
        .bind(kind.name())
        .fetch_all(&self.pool)
        .await
        .map_err(storage)
    }

    /// What a job is and where it stands; `None` if it does not exist.
    pub(crate) async fn kind_and_state(&self, id: &str) -> Result<Option<(JobKind, JobState)>, StudioError> {
        if !storable(id) {
            return Ok(None);
        }
        let row: Option<(String, String)> = sqlx::query_as("SELECT kind, state FROM jobs WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)?;
        Ok(row.and_then(|(kind, state)| Some((JobKind::of(&kind)?, JobState::of(&state)?))))
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
}
