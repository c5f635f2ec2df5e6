//! What images cost on this model and device.

use super::{Store, storage};
use crate::StudioError;

impl Store {
    /// Milliseconds of a step and of the rest at the native size.
    pub(crate) async fn timing(&self, model: &str) -> Result<Option<(f64, f64)>, StudioError> {
        sqlx::query_as("SELECT step_ms, fixed_ms FROM timings WHERE model = $1")
            .bind(model)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)
    }

    pub(crate) async fn save_timing(
        &self,
        model: &str,
        step_ms: f64,
        fixed_ms: f64,
    ) -> Result<(), StudioError> {
        sqlx::query(
            "INSERT INTO timings (model, step_ms, fixed_ms) VALUES ($1, $2, $3) \
             ON CONFLICT (model) DO UPDATE SET step_ms = excluded.step_ms, fixed_ms = excluded.fixed_ms",
        )
        .bind(model)
        .bind(step_ms)
        .bind(fixed_ms)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }
}
