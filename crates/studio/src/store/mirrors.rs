//! Rows that record how much of what happens here another server has received.

use super::{Store, decode, encode, storage};
use crate::StudioError;

impl Store {
    /// How much a server has received; `None`: nothing.
    pub(crate) async fn mirror(
        &self,
        (target, kind, id): (&str, &str, &str),
    ) -> Result<Option<serde_json::Value>, StudioError> {
        let row: Option<(String,)> =
            sqlx::query_as("SELECT state FROM mirrors WHERE target = $1 AND kind = $2 AND id = $3")
                .bind(target)
                .bind(kind)
                .bind(id)
                .fetch_optional(&self.pool)
                .await
                .map_err(storage)?;
        row.map(|(text,)| decode(&text, "state", id)).transpose()
    }

    /// Notes that.
    pub(crate) async fn set_mirror(
        &self,
        (target, kind, id): (&str, &str, &str),
        state: &serde_json::Value,
    ) -> Result<(), StudioError> {
        sqlx::query(
            "INSERT INTO mirrors (target, kind, id, state) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (target, kind, id) DO UPDATE SET state = excluded.state",
        )
        .bind(target)
        .bind(kind)
        .bind(id)
        .bind(encode(state)?)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }
}
