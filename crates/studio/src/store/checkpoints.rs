//! Rows of adapters at steps of a training run that sheets use.

use super::{Store, storage};
use crate::StudioError;

impl Store {
    /// Hash of the adapter at a step, if a sheet uses it.
    pub(crate) async fn checkpoint(&self, run: &str, step: u32) -> Result<Option<String>, StudioError> {
        let row: Option<(String,)> =
            sqlx::query_as("SELECT hash FROM checkpoints WHERE job = $1 AND step = $2")
                .bind(run)
                .bind(i64::from(step))
                .fetch_optional(&self.pool)
                .await
                .map_err(storage)?;
        Ok(row.map(|(hash,)| hash))
    }

    /// Notes which step of which run a version (`name@vN`) is.
    pub(crate) async fn insert_kept_step(
        &self,
        version: &str,
        run: &str,
        step: u32,
    ) -> Result<(), StudioError> {
        sqlx::query(
            "INSERT INTO kept_steps (version, job, step) VALUES ($1, $2, $3) ON CONFLICT (version, job, step) DO NOTHING",
        )
        .bind(version)
        .bind(run)
        .bind(i64::from(step))
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }

    /// Keeps the adapter at a step; the first one stays.
    pub(crate) async fn insert_checkpoint(
        &self,
        run: &str,
        step: u32,
        hash: &str,
        at: i64,
    ) -> Result<(), StudioError> {
        sqlx::query(
            "INSERT INTO checkpoints (job, step, hash, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (job, step) DO NOTHING",
        )
        .bind(run)
        .bind(i64::from(step))
        .bind(hash)
        .bind(at)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }

    /// Forgets the adapters of a run unless a sheet still uses it.
    pub(crate) async fn forget_checkpoints(&self, run: &str) -> Result<(), StudioError> {
        sqlx::query(
            "DELETE FROM checkpoints WHERE job = $1 \
             AND NOT EXISTS (SELECT 1 FROM sheets WHERE sheets.request LIKE $2)",
        )
        .bind(run)
        .bind(format!("%{run}%"))
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }
}
