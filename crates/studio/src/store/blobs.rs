//! Which blobs rows need. Triggers keep `blob_owners` and `blobs_to_remove`, see the migration `blob owners`; nothing
//! else writes the first of them.

use super::{Store, storage};
use crate::StudioError;

/// Under what name the id is kept that marks blobs as this database's.
const ID: &str = "blobs";

impl Store {
    /// Whether any row needs the blob of that name.
    pub(crate) async fn has_owner(&self, hash: &str) -> Result<bool, StudioError> {
        let found: Option<(String,)> = sqlx::query_as("SELECT hash FROM blob_owners WHERE hash = $1 LIMIT 1")
            .bind(hash)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)?;
        Ok(found.is_some())
    }

    /// The blobs that rows need and whose names begin with `prefix`.
    pub(crate) async fn owned_blobs(&self, prefix: &str) -> Result<Vec<String>, StudioError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT DISTINCT hash FROM blob_owners WHERE hash >= $1 AND hash < $2")
                .bind(prefix)
                // Above every hexadecimal digit.
                .bind(format!("{prefix}g"))
                .fetch_all(&self.pool)
                .await
                .map_err(storage)?;
        Ok(rows.into_iter().map(|(hash,)| hash).collect())
    }

    /// Blobs that may not be needed any more.
    pub(crate) async fn unused_blobs(&self) -> Result<Vec<String>, StudioError> {
        let rows: Vec<(String,)> = sqlx::query_as("SELECT hash FROM blobs_to_remove")
            .fetch_all(&self.pool)
            .await
            .map_err(storage)?;
        Ok(rows.into_iter().map(|(hash,)| hash).collect())
    }

    /// Notes a blob that was found without an owner.
    pub(crate) async fn note_blob(&self, hash: &str) -> Result<(), StudioError> {
        sqlx::query("INSERT INTO blobs_to_remove (hash) VALUES ($1) ON CONFLICT (hash) DO NOTHING")
            .bind(hash)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(())
    }

    /// A noted blob has been looked at: it is gone, or it is needed.
    pub(crate) async fn forget_blob(&self, hash: &str) -> Result<(), StudioError> {
        sqlx::query("DELETE FROM blobs_to_remove WHERE hash = $1")
            .bind(hash)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(())
    }

    /// Names this database for as long as it exists, copies of it included.
    pub(crate) async fn blobs_id(&self) -> Result<String, StudioError> {
        self.setting_or(ID, uuid::Uuid::new_v4().to_string()).await
    }
}

#[cfg(test)]
impl Store {
    /// Every owner, as kind and hash.
    pub(crate) async fn owners(&self) -> Vec<(String, String)> {
        sqlx::query_as("SELECT kind, hash FROM blob_owners ORDER BY kind, hash, owner")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    /// What [`Self::owners`] should be, from the rows themselves. Files of removed embeddings are not among it.
    pub(crate) async fn expected_owners(&self) -> Vec<(String, String)> {
        let mut expected: Vec<(String, String)> = sqlx::query_as(
            "SELECT 'image' AS kind, hash FROM images \
             UNION ALL SELECT 'upload', hash FROM uploads \
             UNION ALL SELECT 'adapter version', hash FROM adapter_versions WHERE deleted_at IS NULL \
             UNION ALL SELECT 'embedding', hash FROM embeddings \
             UNION ALL SELECT 'dataset image', hash FROM dataset_pictures \
             UNION ALL SELECT 'training sample', hash FROM training_samples \
             UNION ALL SELECT 'smoke image', hash FROM smoke_images \
             UNION ALL SELECT 'checkpoint', hash FROM checkpoints \
             UNION ALL SELECT 'shadow image', hash FROM shadow_images",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap();
        expected.sort();
        expected
    }
}
