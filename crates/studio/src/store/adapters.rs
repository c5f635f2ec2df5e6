//! Rows of adapter versions: written once, never changed.

use adire_protocol::{AdapterReceipt, AdapterVersion};

use super::{Store, decode, encode, sql, storage};
use crate::StudioError;

row! {
    struct AdapterRow {
        name: String,
        version: i64,
        hash: String,
        description: String,
        trigger_words: String,
        bytes: i64,
        created_at: i64,
    }
}

impl From<AdapterRow> for AdapterVersion {
    fn from(row: AdapterRow) -> Self {
        Self {
            name: row.name,
            version: u32::try_from(row.version).unwrap_or(u32::MAX),
            hash: row.hash,
            description: row.description,
            trigger: row.trigger_words,
            bytes: row.bytes.cast_unsigned(),
            created_at: row.created_at,
        }
    }
}

const COLUMNS: &str = "name, version, hash, description, trigger_words, bytes, created_at";

impl Store {
    /// Every version, by name, the newest of each first.
    pub(crate) async fn adapters(&self) -> Result<Vec<AdapterVersion>, StudioError> {
        let rows: Vec<AdapterRow> = sqlx::query_as(sql(format!(
            "SELECT {COLUMNS} FROM adapter_versions ORDER BY name, version DESC"
        )))
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        Ok(rows.into_iter().map(AdapterVersion::from).collect())
    }

    /// Adds a version. Version 0 takes the next number, in the same statement, so that two at once get two
    /// numbers. `None`: that number is taken.
    pub(crate) async fn insert_adapter(
        &self,
        new: &AdapterVersion,
    ) -> Result<Option<AdapterVersion>, StudioError> {
        let rows: Vec<AdapterRow> = sqlx::query_as(sql(format!(
            "INSERT INTO adapter_versions (name, version, hash, description, trigger_words, bytes, created_at) \
             SELECT $1, CASE WHEN $2 > 0 THEN $2 ELSE COALESCE(MAX(version), 0) + 1 END, $3, $4, $5, $6, $7 \
             FROM adapter_versions WHERE name = $1 \
             ON CONFLICT (name, version) DO NOTHING RETURNING {COLUMNS}"
        )))
        .bind(&new.name)
        .bind(i64::from(new.version))
        .bind(&new.hash)
        .bind(&new.description)
        .bind(&new.trigger)
        .bind(new.bytes.cast_signed())
        .bind(new.created_at)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        Ok(rows.into_iter().next().map(AdapterVersion::from))
    }

    /// What a file did to a model, if that is known.
    pub(crate) async fn receipt(
        &self,
        hash: &str,
        model: &str,
    ) -> Result<Option<AdapterReceipt>, StudioError> {
        let row: Option<(String,)> =
            sqlx::query_as("SELECT receipt FROM adapter_receipts WHERE hash = $1 AND model = $2")
                .bind(hash)
                .bind(model)
                .fetch_optional(&self.pool)
                .await
                .map_err(storage)?;
        row.map(|(text,)| decode(&text, "receipt", hash)).transpose()
    }

    /// Keeps what a file did to a model.
    pub(crate) async fn save_receipt(
        &self,
        hash: &str,
        model: &str,
        receipt: &AdapterReceipt,
    ) -> Result<(), StudioError> {
        sqlx::query(
            "INSERT INTO adapter_receipts (hash, model, receipt) VALUES ($1, $2, $3) \
             ON CONFLICT (hash, model) DO UPDATE SET receipt = excluded.receipt",
        )
        .bind(hash)
        .bind(model)
        .bind(encode(receipt)?)
        .execute(&self.pool)
        .await
        .map_err(storage)?;
        Ok(())
    }

    /// As if no file had been tried yet.
    #[cfg(test)]
    pub(crate) async fn forget_receipts(&self) -> Result<(), StudioError> {
        sqlx::query("DELETE FROM adapter_receipts").execute(&self.pool).await.map_err(storage)?;
        Ok(())
    }
}
