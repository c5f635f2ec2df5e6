//! Rows of what trainings measure: points, samples, and the numbers of their events.

use adire_protocol::{TrainingPoint, TrainingSample};

use super::{Store, image_url, sql::Real, sql::storable, storage};
use crate::{
    StudioError,
    job::{Lease, WriteError},
};

row! {
    struct PointRow {
        step: i64,
        loss: Option<f64>,
        held_out_loss: Option<f64>,
        learning_rate: Option<f64>,
        gradient_norm: Option<f64>,
        seconds: Option<f64>,
        number: i64,
    }
}

row! {
    struct SampleRow {
        step: i64,
        prompt_index: i64,
        with_adapter: i64,
        prompt: String,
        hash: String,
        number: i64,
    }
}

fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

impl Store {
    /// Keeps a point: what it knows is added to the one of the same step.
    pub(crate) async fn save_point(&self, lease: &Lease, point: &TrainingPoint) -> Result<(), WriteError> {
        let (mut change, number) = self.change_held(lease, 0).await?;
        let id = &lease.job;
        sqlx::query(
            "INSERT INTO training_points (job, step, loss, held_out_loss, learning_rate, gradient_norm, seconds, number) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (job, step) DO UPDATE SET \
             loss = COALESCE(excluded.loss, training_points.loss), \
             held_out_loss = COALESCE(excluded.held_out_loss, training_points.held_out_loss), \
             learning_rate = COALESCE(excluded.learning_rate, training_points.learning_rate), \
             gradient_norm = COALESCE(excluded.gradient_norm, training_points.gradient_norm), \
             seconds = COALESCE(excluded.seconds, training_points.seconds), number = excluded.number",
        )
        .bind(id)
        .bind(i64::from(point.step))
        .bind(Real(point.loss))
        .bind(Real(point.held_out_loss))
        .bind(Real(point.learning_rate))
        .bind(Real(point.gradient_norm))
        .bind(Real(point.seconds))
        .bind(number)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        sqlx::query("UPDATE training_jobs SET step = $2 WHERE id = $1")
            .bind(id)
            .bind(i64::from(point.step))
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        Ok(change.commit().await.map_err(storage)?)
    }

    /// `sample.url` is not kept: it follows from the hash.
    pub(crate) async fn save_sample(&self, lease: &Lease, sample: &TrainingSample) -> Result<(), WriteError> {
        let (mut change, number) = self.change_held(lease, 0).await?;
        sqlx::query(
            "INSERT INTO training_samples (job, step, prompt_index, with_adapter, prompt, hash, number) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (job, step, prompt_index, with_adapter) \
             DO UPDATE SET hash = excluded.hash, number = excluded.number",
        )
        .bind(&lease.job)
        .bind(i64::from(sample.step))
        .bind(i64::from(sample.prompt_index))
        .bind(i64::from(sample.with_adapter))
        .bind(&sample.prompt)
        .bind(&sample.hash)
        .bind(number)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        Ok(change.commit().await.map_err(storage)?)
    }

    /// Points with a number above `after`, each with its number.
    pub(crate) async fn points(
        &self,
        id: &str,
        after: i64,
    ) -> Result<Vec<(i64, TrainingPoint)>, StudioError> {
        let rows: Vec<PointRow> = sqlx::query_as(
            "SELECT step, loss, held_out_loss, learning_rate, gradient_norm, seconds, number \
             FROM training_points WHERE job = $1 AND number > $2 ORDER BY step",
        )
        .bind(id)
        .bind(after)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        let point = |row: PointRow| {
            let point = TrainingPoint {
                step: small(row.step),
                loss: row.loss,
                held_out_loss: row.held_out_loss,
                learning_rate: row.learning_rate,
                gradient_norm: row.gradient_norm,
                seconds: row.seconds,
            };
            (row.number, point)
        };
        Ok(rows.into_iter().map(point).collect())
    }

    /// Samples with a number above `after`, each with its number.
    pub(crate) async fn samples(
        &self,
        id: &str,
        after: i64,
    ) -> Result<Vec<(i64, TrainingSample)>, StudioError> {
        let rows: Vec<SampleRow> = sqlx::query_as(
            "SELECT step, prompt_index, with_adapter, prompt, hash, number FROM training_samples \
             WHERE job = $1 AND number > $2 ORDER BY step, prompt_index, with_adapter",
        )
        .bind(id)
        .bind(after)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        let sample = |row: SampleRow| {
            let sample = TrainingSample {
                step: small(row.step),
                prompt: row.prompt,
                prompt_index: small(row.prompt_index),
                with_adapter: row.with_adapter != 0,
                url: image_url(&row.hash),
                hash: row.hash,
            };
            (row.number, sample)
        };
        Ok(rows.into_iter().map(sample).collect())
    }

    /// Whether some training made a sample of that name.
    pub(crate) async fn has_sample(&self, hash: &str) -> Result<bool, StudioError> {
        if !storable(hash) {
            return Ok(false);
        }
        let found: Option<(String,)> =
            sqlx::query_as("SELECT hash FROM training_samples WHERE hash = $1 LIMIT 1")
                .bind(hash)
                .fetch_optional(&self.pool)
                .await
                .map_err(storage)?;
        Ok(found.is_some())
    }
}
