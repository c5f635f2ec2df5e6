//! Rows of uploaded images and their owners.

use super::{Store, sql::storable, storage};
use crate::{StudioError, client::Who};

/// What somebody has uploaded since some time, as far as it is still here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uploaded {
    pub(crate) images: u32,
    pub(crate) bytes: u64,
}

impl Store {
    /// An upload has come, perhaps once more.
    pub(crate) async fn keep_upload(
        &self,
        hash: &str,
        bytes: u64,
        who: &Who,
        at: i64,
    ) -> Result<(), StudioError> {
        let mut change = self.change_alone().await?;
        sqlx::query(
            "INSERT INTO uploads (hash, bytes, created_at) VALUES ($1, $2, $3) \
             ON CONFLICT (hash) DO UPDATE SET created_at = excluded.created_at, bytes = excluded.bytes",
        )
        .bind(hash)
        .bind(bytes.cast_signed())
        .bind(at)
        .execute(&mut *change)
        .await
        .map_err(storage)?;
        if let Some(owner) = who.owner() {
            sqlx::query(
                "INSERT INTO upload_owners (hash, owner, network, bytes, created_at) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (hash, owner) DO UPDATE SET created_at = excluded.created_at",
            )
            .bind(hash)
            .bind(owner)
            .bind(who.network_digest().unwrap_or_default())
            .bind(bytes.cast_signed())
            .bind(at)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        }
        change.commit().await.map_err(storage)
    }

    /// Somebody asks for it: its day begins again.
    pub(crate) async fn touch_upload(&self, hash: &str, at: i64) -> Result<(), StudioError> {
        sqlx::query("UPDATE uploads SET created_at = $2 WHERE hash = $1")
            .bind(hash)
            .bind(at)
            .execute(&self.pool)
            .await
            .map_err(storage)?;
        Ok(())
    }

    /// Whether an image of that name was uploaded.
    pub(crate) async fn has_upload(&self, hash: &str) -> Result<bool, StudioError> {
        if !storable(hash) {
            return Ok(false);
        }
        let found: Option<(i64,)> = sqlx::query_as("SELECT created_at FROM uploads WHERE hash = $1")
            .bind(hash)
            .fetch_optional(&self.pool)
            .await
            .map_err(storage)?;
        Ok(found.is_some())
    }

    /// What `owner` has uploaded since `since`. Unused uploads are kept for a day, so a day back nothing is missing.
    pub(crate) async fn uploaded_by(&self, owner: &str, since: i64) -> Result<Uploaded, StudioError> {
        let counted: (i64, i64) = sqlx::query_as(
            "SELECT COUNT(*), CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM upload_owners WHERE owner = $1 AND created_at >= $2",
        )
        .bind(owner)
        .bind(since)
        .fetch_one(&self.pool)
        .await
        .map_err(storage)?;
        Ok(uploaded(counted))
    }

    /// Uploads from a network (its digest) since `since`.
    pub(crate) async fn uploaded_from(&self, network: &str, since: i64) -> Result<Uploaded, StudioError> {
        let counted: (i64, i64) = sqlx::query_as(
            "SELECT COUNT(*), CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM upload_owners WHERE network = $1 AND created_at >= $2",
        )
        .bind(network)
        .bind(since)
        .fetch_one(&self.pool)
        .await
        .map_err(storage)?;
        Ok(uploaded(counted))
    }

    /// What all uploads together take.
    pub(crate) async fn upload_bytes(&self) -> Result<u64, StudioError> {
        let (bytes,): (i64,) = sqlx::query_as("SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM uploads")
            .fetch_one(&self.pool)
            .await
            .map_err(storage)?;
        Ok(bytes.max(0).cast_unsigned())
    }

    /// Deletes the uploads from before `before` that no generation names; returns how many.
    pub(crate) async fn forget_uploads(&self, before: i64) -> Result<usize, StudioError> {
        let mut change = self.change_alone().await?;
        let unused: Vec<(String,)> = sqlx::query_as(
            "SELECT hash FROM uploads WHERE created_at < $1 AND NOT EXISTS \
             (SELECT 1 FROM generation_inputs WHERE generation_inputs.hash = uploads.hash)",
        )
        .bind(before)
        .fetch_all(&mut *change)
        .await
        .map_err(storage)?;
        for (hash,) in &unused {
            for statement in
                ["DELETE FROM upload_owners WHERE hash = $1", "DELETE FROM uploads WHERE hash = $1"]
            {
                sqlx::query(statement).bind(hash).execute(&mut *change).await.map_err(storage)?;
            }
        }
        change.commit().await.map_err(storage)?;
        Ok(unused.len())
    }
}

fn uploaded((images, bytes): (i64, i64)) -> Uploaded {
    Uploaded { images: u32::try_from(images).unwrap_or(u32::MAX), bytes: bytes.max(0).cast_unsigned() }
}
