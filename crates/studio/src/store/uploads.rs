//! Rows of uploaded pictures.

use super::{Store, storage};
use crate::StudioError;

impl Store {
    /// An upload has come, perhaps once more.
    pub(crate) async fn keep_upload(&self, hash: &str, at: i64) -> Result<(), StudioError> {
        sqlx::query(
            "INSERT INTO uploads (hash, created_at) VALUES ($1, $2) \
             ON CONFLICT (hash) DO UPDATE SET created_at = excluded.created_at",
        )
        .bind(hash)
        .bind(at)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }

    /// Someone asks for it: its day begins again.
    pub(crate) async fn touch_upload(&self, hash: &str, at: i64) -> Result<(), StudioError> {
        sqlx::query("UPDATE uploads SET created_at = $2 WHERE hash = $1")
            .bind(hash)
            .bind(at)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(())
    }

    /// A request names it: it stays.
    pub(crate) async fn use_upload(&self, hash: &str) -> Result<(), StudioError> {
        sqlx::query("UPDATE uploads SET used = TRUE WHERE hash = $1")
            .bind(hash)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(())
    }

    /// Whether a picture of that name was uploaded.
    pub(crate) async fn has_upload(&self, hash: &str) -> Result<bool, StudioError> {
        let found: Option<(i64,)> = sqlx::query_as("SELECT created_at FROM uploads WHERE hash = $1")
            .bind(hash)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)?;
        Ok(found.is_some())
    }

    /// Takes out the rows of those that came before `before` and that no request names, and gives their names.
    pub(crate) async fn forget_uploads(&self, before: i64) -> Result<Vec<String>, StudioError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("DELETE FROM uploads WHERE NOT used AND created_at < $1 RETURNING hash")
                .bind(before)
                .fetch_all(&self.pool)
                .await
                .map_err(storage)?;
        Ok(rows.into_iter().map(|(hash,)| hash).collect())
    }
}
