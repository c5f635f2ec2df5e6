//! Rows of training runs.

use adire_protocol::{TrainingForecast, TrainingRequest, TrainingState};

use super::{
    Store, decode, encode,
    jobs::{forget_attempts, insert_job},
    sql,
    sql::storable,
    storage,
};
use crate::{
    StudioError,
    job::{Asked, Lease, NewJob, Queued, WriteError},
};

row! {
    /// A training run as stored.
    #[derive(Clone, Debug)]
    pub(crate) struct RunRow {
        pub(crate) id: String,
        request: String,
        pub(crate) dataset_hash: String,
        state: String,
        asked: Option<String>,
        pub(crate) created_at: i64,
        pub(crate) started_at: Option<i64>,
        pub(crate) finished_at: Option<i64>,
        pub(crate) step: i64,
        pub(crate) error: Option<String>,
        halved: i64,
        pub(crate) version: Option<String>,
        forecast: Option<String>,
        pub(crate) waited_ms: i64,
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
        match self.asked.as_deref().and_then(Asked::of) {
            // What was asked of the holder is as good as done.
            Some(Asked::Pause) => return TrainingState::Paused,
            Some(Asked::Cancel) => return TrainingState::Cancelled,
            None => {}
        }
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

impl super::About {
    pub(crate) const TRAINING: Self = Self::of_admin("training_jobs", "a.request");
}

const SELECT: &str = "SELECT t.id, t.request, t.dataset_hash, j.state, j.asked, j.created_at, j.started_at, \
                      j.finished_at, t.step, j.error, t.halved, t.version, t.forecast, t.waited_ms \
                      FROM training_jobs t JOIN jobs j ON j.id = t.id";

/// Whether `$1` (`name@vN`) is what the run `t` ended with, or a step of it.
pub(super) const OF_VERSION: &str =
    "(t.version = $1 OR t.id IN (SELECT k.job FROM kept_steps k WHERE k.version = $1))";

impl Store {
    /// Writes a run and puts it into the queue.
    pub(crate) async fn insert_run(
        &self,
        job: &NewJob,
        request: &TrainingRequest,
        dataset_hash: &str,
    ) -> Result<Queued, StudioError> {
        let mut change = self.change_alone().await?;
        let queued = insert_job(&mut change, job).await?;
        sqlx::query("INSERT INTO training_jobs (id, request, dataset_hash) VALUES ($1, $2, $3)")
            .bind(&job.id)
            .bind(encode(request)?)
            .bind(dataset_hash)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        change.commit().await.map_err(storage)?;
        Ok(queued)
    }

    pub(crate) async fn run(&self, id: &str) -> Result<Option<RunRow>, StudioError> {
        if !storable(id) {
            return Ok(None);
        }
        sqlx::query_as(sql(format!("{SELECT} WHERE t.id = $1")))
            .bind(id)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)
    }

    /// The newest first.
    pub(crate) async fn runs(&self) -> Result<Vec<RunRow>, StudioError> {
        sqlx::query_as(sql(format!("{SELECT} ORDER BY t.id DESC")))
            .fetch_all(&self.pool)
            .await
            .map_err(storage)
    }

    /// What every training has come to, or the one of that id: one question, however many there are.
    pub(crate) async fn run_facts(&self, id: Option<&str>) -> Result<Vec<RunFacts>, StudioError> {
        sqlx::query_as(
            "SELECT t.id AS run, \
             (SELECT p.held_out_loss FROM training_points p WHERE p.job = t.id AND p.held_out_loss IS NOT NULL \
              ORDER BY p.step LIMIT 1) AS first_held_out, \
             (SELECT p.held_out_loss FROM training_points p WHERE p.job = t.id AND p.held_out_loss IS NOT NULL \
              ORDER BY p.step DESC LIMIT 1) AS last_held_out, \
             (SELECT AVG(recent.seconds) FROM (SELECT p.seconds FROM training_points p \
              WHERE p.job = t.id AND p.seconds IS NOT NULL ORDER BY p.step DESC LIMIT 20) AS recent) AS recent_seconds, \
             (SELECT COUNT(*) FROM jobs w WHERE w.state = 'queued' AND w.kind = 'training' \
              AND (w.turn < j.turn OR (w.turn = j.turn AND w.id < j.id))) AS ahead \
             FROM training_jobs t JOIN jobs j ON j.id = t.id WHERE CAST($1 AS TEXT) IS NULL OR t.id = $1",
        )
        .bind(id)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)
    }

    /// A checkpoint is written: claims before it do not count any more.
    pub(crate) async fn save_gain(&self, lease: &Lease) -> Result<(), WriteError> {
        let (mut change, _) = self.change_held(lease, 0).await?;
        forget_attempts(&mut change, &lease.job).await?;
        Ok(change.commit().await.map_err(storage)?)
    }

    pub(crate) async fn save_forecast(
        &self,
        lease: &Lease,
        forecast: &TrainingForecast,
    ) -> Result<(), WriteError> {
        let (mut change, _) = self.change_held(lease, 0).await?;
        sqlx::query("UPDATE training_jobs SET forecast = $2 WHERE id = $1")
            .bind(&lease.job)
            .bind(encode(forecast)?)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        Ok(change.commit().await.map_err(storage)?)
    }

    pub(crate) async fn save_waited(&self, lease: &Lease, waited_ms: i64) -> Result<(), WriteError> {
        let (mut change, _) = self.change_held(lease, 0).await?;
        sqlx::query("UPDATE training_jobs SET waited_ms = $2 WHERE id = $1")
            .bind(&lease.job)
            .bind(waited_ms)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        Ok(change.commit().await.map_err(storage)?)
    }

    /// Takes out what was measured after `step`, which is where the job stands now.
    pub(crate) async fn rewind_run(&self, lease: &Lease, step: u32, halved: bool) -> Result<(), WriteError> {
        let (mut change, _) = self.change_held(lease, 0).await?;
        let id = &lease.job;
        for table in ["training_points", "training_samples", "checkpoints"] {
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
        Ok(change.commit().await.map_err(storage)?)
    }
}
