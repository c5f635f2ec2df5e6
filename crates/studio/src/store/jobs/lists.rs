//! What is asked about jobs, and their order.

use adire_protocol::{EvaluationRequest, GenerationSpec, TrainingRequest};

use crate::{
    StudioError,
    job::{JobKind, JobState, Queued},
    store::{Store, decode, sql::storable, storage},
};

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
        evaluation: Option<String>,
        push: Option<String>,
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

    pub(crate) fn evaluation(&self) -> Result<EvaluationRequest, StudioError> {
        decode(self.evaluation.as_deref().unwrap_or_default(), "evaluation", &self.id)
    }

    /// Version and repository of a push.
    pub(crate) fn push(&self) -> &str {
        self.push.as_deref().unwrap_or_default()
    }

    pub(crate) fn request(&self) -> Result<TrainingRequest, StudioError> {
        decode(self.request.as_deref().unwrap_or_default(), "training", &self.id)
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
            "SELECT j.id, j.kind, j.state, j.owner, j.cost, j.wants, j.created_at, g.network, g.spec, t.request, \
             e.request AS evaluation, p.name || '@v' || p.version || ' to ' || p.repository AS push FROM jobs j LEFT JOIN generations g ON g.id = j.id \
             LEFT JOIN training_jobs t ON t.id = j.id LEFT JOIN evaluations e ON e.id = j.id LEFT JOIN pushes p ON p.id = j.id \
             WHERE j.state IN ('queued', 'running') \
             ORDER BY j.kind, CASE j.state WHEN 'running' THEN 0 ELSE 1 END, j.turn, j.id",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(storage)
    }

    /// The kind of a job; `None` if it does not exist.
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
}
