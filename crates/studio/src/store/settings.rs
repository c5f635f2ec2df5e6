//! Settings made by the admin, as JSON by name.

use super::{Store, decode, encode, storage};
use crate::StudioError;

impl Store {
    /// The value of that name; `None` where nobody has decided.
    pub(crate) async fn setting<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, StudioError> {
        let row: Option<(String,)> = sqlx::query_as("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)?;
        row.map(|(text,)| decode(&text, "setting", name)).transpose()
    }

    pub(crate) async fn set_setting<T: serde::Serialize>(
        &self,
        name: &str,
        value: &T,
    ) -> Result<(), StudioError> {
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(encode(value)?)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }

    /// The setting; `value` where there is none yet. Of several that ask at once all get the same.
    pub(crate) async fn setting_or<T: serde::Serialize + serde::de::DeserializeOwned>(
        &self,
        name: &str,
        value: T,
    ) -> Result<T, StudioError> {
        if let Some(known) = self.setting(name).await? {
            return Ok(known);
        }
        sqlx::query("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(name)
            .bind(encode(&value)?)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(self.setting(name).await?.unwrap_or(value))
    }
}
