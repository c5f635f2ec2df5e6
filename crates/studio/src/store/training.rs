//! Rows of training runs.

use adire_protocol::{TrainingForecast, TrainingRequest, TrainingState};

use super::{Store, decode, encode, sql, sql::storable, storage};
use crate::StudioError;

row! {
    /// A training run as stored.
    #[derive(Clone, Debug)]
    pub(crate) struct RunRow {
        pub(crate) id: String,
        request: String,
        pub(crate) dataset_hash: String,
        state: String,
        pub(crate) created_at: i64,
        pub(crate) started_at: Option<i64>,
        pub(crate) finished_at: Option<i64>,
        pub(crate) step: i64,
        pub(crate) error: Option<String>,
        halved: i64,
        pub(crate) version: Option<String>,
        forecast: Option<String>,
        pub(crate) waited_ms: i64,
        pub(crate) attempts: i64,
    }
}

row! {
    /// What a training has come to: held-out losses before the first update and at the last measurement, seconds that
    /// per step over the last few steps, and the number of runs queued before it.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct RunFacts {
        pub(crate) run: String,
        pub(crate) first_held_out: Option<f64>,
        pub(crate) last_held_out: Option<f64>,
        pub(crate) recent_seconds: Option<f64>,
        pub(crate) ahead: i64,
    }
}

impl RunRow {
    pub(crate) fn state(&self) -> TrainingState {
        // The column's CHECK leaves no other word.
        TrainingState::ALL.into_iter().find(|s| s.name() == self.state).unwrap_or(TrainingState::Failed)
    }

    /// Whether the learning rate was halved once.
    pub(crate) fn halved(&self) -> bool {
        self.halved != 0
    }

    pub(crate) fn request(&self) -> Result<TrainingRequest, StudioError> {
        decode(&self.request, "training", &self.id)
    }

    pub(crate) fn forecast(&self) -> Result<Option<TrainingForecast>, StudioError> {
        self.forecast.as_deref().map(|text| decode(text, "forecast", &self.id)).transpose()
    }
}

/// How a run ended or paused.
pub(crate) struct RunOutcome<'a> {
    pub(crate) state: TrainingState,
    /// When, for one that is at its end.
    pub(crate) at: Option<i64>,
    pub(crate) error: Option<&'a str>,
    pub(crate) version: Option<&'a str>,
}

const COLUMNS: &str = "id, request, dataset_hash, state, created_at, started_at, finished_at, step, error, halved, \
                       version, forecast, waited_ms, attempts";

impl Store {
    pub(crate) async fn insert_run(
        &self,
        id: &str,
        request: &TrainingRequest,
        dataset_hash: &str,
        at: i64,
    ) -> Result<(), StudioError> {
        sqlx::query(
            "INSERT INTO training_jobs (id, request, dataset_hash, state, created_at) \
             VALUES ($1, $2, $3, 'queued', $4)",
        )
        .bind(id)
        .bind(encode(request)?)
        .bind(dataset_hash)
        .bind(at)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }

    pub(crate) async fn run(&self, id: &str) -> Result<Option<RunRow>, StudioError> {
        if !storable(id) {
            return Ok(None);
        }
        sqlx::query_as(sql(format!("SELECT {COLUMNS} FROM training_jobs WHERE id = $1")))
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)
    }

    /// The newest first.
    pub(crate) async fn runs(&self) -> Result<Vec<RunRow>, StudioError> {
        sqlx::query_as(sql(format!("SELECT {COLUMNS} FROM training_jobs ORDER BY id DESC")))
            .fetch_all(&self.pool)
            .await
            .map_err(storage)
    }

    /// The next queued run.
    pub(crate) async fn next_queued_run(&self) -> Result<Option<RunRow>, StudioError> {
        sqlx::query_as(sql(format!(
            "SELECT {COLUMNS} FROM training_jobs WHERE state = 'queued' ORDER BY id LIMIT 1"
        )))
        .fetch_optional(&self.pool)
        .await
        .map_err(storage)
    }

    /// What every training has come to, or the one of that id: one question, however many there are.
    pub(crate) async fn run_facts(&self, id: Option<&str>) -> Result<Vec<RunFacts>, StudioError> {
        sqlx::query_as(
            "SELECT j.id AS run, \
             (SELECT p.held_out_loss FROM training_points p WHERE p.job = j.id AND p.held_out_loss IS NOT NULL \
              ORDER BY p.step LIMIT 1) AS first_held_out, \
             (SELECT p.held_out_loss FROM training_points p WHERE p.job = j.id AND p.held_out_loss IS NOT NULL \
              ORDER BY p.step DESC LIMIT 1) AS last_held_out, \
             (SELECT AVG(recent.seconds) FROM (SELECT p.seconds FROM training_points p \
              WHERE p.job = j.id AND p.seconds IS NOT NULL ORDER BY p.step DESC LIMIT 20) AS recent) AS recent_seconds, \
             (SELECT COUNT(*) FROM training_jobs w WHERE w.state = 'queued' AND w.id < j.id) AS ahead \
             FROM training_jobs j WHERE CAST($1 AS TEXT) IS NULL OR j.id = $1",
        )
        .bind(id)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)
    }

    /// Puts runs that a previous server left running back into the queue.
    pub(crate) async fn requeue_interrupted_runs(&self) -> Result<(), StudioError> {
        sqlx::query("UPDATE training_jobs SET state = 'queued' WHERE state = 'running'")
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(())
    }

    /// Marks a queued run as running; returns whether it was still queued.
    pub(crate) async fn start_run(&self, id: &str, at: i64) -> Result<bool, StudioError> {
        let done = sqlx::query(
            "UPDATE training_jobs SET state = 'running', started_at = COALESCE(started_at, $2), \
             finished_at = NULL, error = NULL, attempts = attempts + 1 WHERE id = $1 AND state = 'queued'",
        )
        .bind(id)
        .bind(at)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(done.rows_affected() > 0)
    }

    /// Resets the attempts after progress was saved.
    pub(crate) async fn forget_attempts(&self, id: &str) -> Result<(), StudioError> {
        sqlx::query("UPDATE training_jobs SET attempts = 0 WHERE id = $1")
            .bind(id)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(())
    }

    /// Puts the active run back into the queue at shutdown.
    pub(crate) async fn requeue_run(&self, id: &str) -> Result<(), StudioError> {
        sqlx::query(
            "UPDATE training_jobs SET state = 'queued', attempts = 0 WHERE id = $1 AND state = 'running'",
        )
        .bind(id)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }

    /// Ends a run that is in one of the states `from`; returns whether it was.
    pub(crate) async fn finish_run(
        &self,
        id: &str,
        from: &[TrainingState],
        end: &RunOutcome<'_>,
    ) -> Result<bool, StudioError> {
        // Names of ours; nothing that came from outside.
        let from = from.iter().map(|state| format!("'{}'", state.name())).collect::<Vec<_>>().join(", ");
        let done = sqlx::query(sql(format!(
            "UPDATE training_jobs SET state = $2, finished_at = $3, error = $4, \
             version = COALESCE($5, version) WHERE id = $1 AND state IN ({from})"
        )))
        .bind(id)
        .bind(end.state.name())
        .bind(end.at)
        .bind(end.error)
        .bind(end.version)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(done.rows_affected() > 0)
    }

    /// A job at rest waits again; whether it was in one of the states `from`.
    pub(crate) async fn resume_run(&self, id: &str) -> Result<bool, StudioError> {
        let done = sqlx::query(
            "UPDATE training_jobs SET state = 'queued', finished_at = NULL, error = NULL, attempts = 0 \
             WHERE id = $1 AND state IN ('paused', 'failed')",
        )
        .bind(id)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(done.rows_affected() > 0)
    }

    pub(crate) async fn save_forecast(
        &self,
        id: &str,
        forecast: &TrainingForecast,
    ) -> Result<(), StudioError> {
        sqlx::query("UPDATE training_jobs SET forecast = $2 WHERE id = $1")
            .bind(id)
            .bind(encode(forecast)?)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(())
    }

    pub(crate) async fn save_waited(&self, id: &str, waited_ms: i64) -> Result<(), StudioError> {
        sqlx::query("UPDATE training_jobs SET waited_ms = $2 WHERE id = $1")
            .bind(id)
            .bind(waited_ms)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(())
    }

    /// Takes out what was measured after `step`, which is where the job stands now.
    pub(crate) async fn rewind_run(&self, id: &str, step: u32, halved: bool) -> Result<(), StudioError> {
        let mut change = self.change().await?;
        for table in ["training_points", "training_samples"] {
            let text = format!("DELETE FROM {table} WHERE job = $1 AND step > $2");
            sqlx::query(sql(text))
                .bind(id)
                .bind(i64::from(step))
                .execute(&mut *change)
                .await
                .map_err(storage)?;
        }
        sqlx::query("UPDATE training_jobs SET step = $2, halved = CASE WHEN $3 = 1 THEN 1 ELSE halved END WHERE id = $1")
            .bind(id)
            .bind(i64::from(step))
            .bind(i64::from(halved))
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        change.commit().await.map_err(storage)
    }
}
