//! Rows of reported images.

use adire_protocol::FlagRecord;

use super::{Store, images::ImageRow, storage};
use crate::StudioError;

row! {
    /// A report with its image.
    pub(crate) struct FlagRow {
        id: String,
        reason: String,
        flagged_at: i64,
        hash: String,
        generation: String,
        position: i64,
        recipe: String,
        infotext: String,
        created_at: i64,
        event: i64,
    }
}

impl FlagRow {
    pub(crate) fn record(self) -> Result<FlagRecord, StudioError> {
        let Self { id, reason, flagged_at, hash, generation, position, recipe, infotext, created_at, event } =
            self;
        let image = ImageRow { hash, generation, position, recipe, infotext, created_at, event }.record()?;
        let prompt = image.recipe.spec.prompt.clone();
        Ok(FlagRecord { id, reason, created_at: flagged_at, prompt, image })
    }
}

impl Store {
    /// Keeps a report. `false`: this reporter has reported the image already and the admin has not dealt with it.
    pub(crate) async fn insert_flag(
        &self,
        id: &str,
        (generation, position): (&str, u32),
        reason: &str,
        reporter: &str,
        at: i64,
    ) -> Result<bool, StudioError> {
        let written = sqlx::query(
            "INSERT INTO flags (id, generation, position, reason, reporter, created_at) \
             SELECT $1, $2, $3, $4, $5, $6 WHERE NOT EXISTS (SELECT 1 FROM flags \
             WHERE generation = $2 AND position = $3 AND reporter = $5 AND closed_at IS NULL)",
        )
        .bind(id)
        .bind(generation)
        .bind(i64::from(position))
        .bind(reason)
        .bind(reporter)
        .bind(at)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(written.rows_affected() > 0)
    }

    /// Reports of one reporter since `since`.
    pub(crate) async fn flags_since(&self, reporter: &str, since: i64) -> Result<i64, StudioError> {
        let (count,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM flags WHERE reporter = $1 AND created_at >= $2")
                .bind(reporter)
                .bind(since)
                .fetch_one(&self.pool)
                .await
                .map_err(storage)?;
        Ok(count)
    }

    /// Reports that the admin has not dealt with, oldest first.
    pub(crate) async fn open_flags(&self, limit: i64) -> Result<Vec<FlagRow>, StudioError> {
        sqlx::query_as(
            "SELECT flags.id, flags.reason, flags.created_at AS flagged_at, images.hash, images.generation, \
             images.position, images.recipe, images.infotext, images.created_at, images.event \
             FROM flags JOIN images ON images.generation = flags.generation AND images.position = flags.position \
             WHERE flags.closed_at IS NULL ORDER BY flags.id LIMIT $1",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)
    }

    /// How many reports wait for the admin.
    pub(crate) async fn open_flag_count(&self) -> Result<i64, StudioError> {
        let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM flags WHERE closed_at IS NULL")
            .fetch_one(&self.pool)
            .await
            .map_err(storage)?;
        Ok(count)
    }

    /// The admin has dealt with a report: `dismissed` or `added` to the suite. Whether it was open.
    pub(crate) async fn close_flag(&self, id: &str, outcome: &str, at: i64) -> Result<bool, StudioError> {
        let closed =
            sqlx::query("UPDATE flags SET closed_at = $3, outcome = $2 WHERE id = $1 AND closed_at IS NULL")
                .bind(id)
                .bind(outcome)
                .bind(at)
                .execute(&self.pool)
                .await
                .map_err(storage)?;
        Ok(closed.rows_affected() > 0)
    }
}
