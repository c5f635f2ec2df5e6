//! Deletes rows for good, one transaction per function. Triggers note the blobs that may not be needed any more; they are
//! removed afterwards, see `deletion`.

use sqlx::{Any, Transaction};

use super::{Kind, Store, jobs::delete_job, sql, storage};
use crate::StudioError;

/// Most generations that are taken out at once.
const BATCH: i64 = 100;

impl Store {
    /// Takes a generation out with its prompt, its images and, where `owner` (or the visitor that asked) has no other
    /// generation with them, the uploads that it began with. Whether it was there. Only for one that has ended.
    pub(crate) async fn delete_generation(&self, id: &str, owner: Option<&str>) -> Result<bool, StudioError> {
        let mut change = self.change_alone().await?;
        let found = take_out(&mut change, id, owner).await?;
        change.commit().await.map_err(storage)?;
        Ok(found)
    }

    /// Takes one image out of a generation; with the last one goes the generation. Whether it was there.
    pub(crate) async fn delete_image(
        &self,
        generation: &str,
        position: u32,
        owner: Option<&str>,
    ) -> Result<bool, StudioError> {
        let mut change = self.change_alone().await?;
        let gone = sqlx::query("DELETE FROM images WHERE generation = $1 AND position = $2")
            .bind(generation)
            .bind(i64::from(position))
            .execute(&mut *change)
            .await
            .map_err(storage)?
            .rows_affected();
        let (left,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM images WHERE generation = $1")
            .bind(generation)
            .fetch_one(&mut *change)
            .await
            .map_err(storage)?;
        if left == 0 && gone > 0 {
            take_out(&mut change, generation, owner).await?;
        }
        change.commit().await.map_err(storage)?;
        Ok(gone > 0)
    }

    /// Everyone gives an upload up. Whether there was one of that name.
    pub(crate) async fn delete_upload(&self, hash: &str) -> Result<bool, StudioError> {
        let mut change = self.change_alone().await?;
        sqlx::query("DELETE FROM upload_owners WHERE hash = $1")
            .bind(hash)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        let gone = sqlx::query("DELETE FROM uploads WHERE hash = $1")
            .bind(hash)
            .execute(&mut *change)
            .await
            .map_err(storage)?;
        change.commit().await.map_err(storage)?;
        Ok(gone.rows_affected() > 0)
    }

    /// Removes `owner` from all uploads; those without another owner are deleted.
    pub(crate) async fn delete_uploads_of(&self, owner: &str) -> Result<(), StudioError> {
        let mut change = self.change_alone().await?;
        let given_up: Vec<(String,)> =
            sqlx::query_as("DELETE FROM upload_owners WHERE owner = $1 RETURNING hash")
                .bind(owner)
                .fetch_all(&mut *change)
                .await
                .map_err(storage)?;
        for (hash,) in given_up {
            drop_ownerless(&mut change, &hash).await?;
        }
        change.commit().await.map_err(storage)
    }

    /// Ids of a visitor's generations.
    pub(crate) async fn generations_of(&self, visitor: &str) -> Result<Vec<String>, StudioError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT id FROM generations WHERE visitor = $1 ORDER BY id")
                .bind(visitor)
                .fetch_all(&self.pool)
                .await
                .map_err(storage)?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Generation and position of every image with that content.
    pub(crate) async fn images_named(&self, hash: &str) -> Result<Vec<(String, i64)>, StudioError> {
        sqlx::query_as("SELECT generation, position FROM images WHERE hash = $1")
            .bind(hash)
            .fetch_all(&self.pool)
            .await
            .map_err(storage)
    }

    /// Ids of some generations that ended before `before`; with `empty`, only of such without an image.
    pub(crate) async fn ended_before(&self, before: i64, empty: bool) -> Result<Vec<String>, StudioError> {
        let without = "AND NOT EXISTS (SELECT 1 FROM images WHERE images.generation = jobs.id) ";
        let rows: Vec<(String,)> = sqlx::query_as(sql(format!(
            "SELECT id FROM jobs WHERE kind = 'generation' AND state IN ('done', 'failed', 'cancelled') \
             AND finished_at < $1 {}\
             ORDER BY id LIMIT $2",
            if empty { without } else { "" }
        )))
        .bind(before)
        .bind(BATCH)
        .fetch_all(&self.pool)
        .await
        .map_err(storage)?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Writes the log into the database file and empties it: deleted texts are not left in it either. Readers may keep
    /// it from being emptied just now; the next time will.
    pub(crate) async fn empty_log(&self) {
        if self.kind == Kind::Postgres {
            // When its log is recycled is up to its operator.
            return;
        }
        let emptied = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&self.pool).await;
        if let Err(error) = emptied {
            tracing::warn!(error = %storage(error), "the database's log was not emptied");
        }
    }
}

/// Takes an upload out that nobody has any more.
async fn drop_ownerless(change: &mut Transaction<'_, Any>, hash: &str) -> Result<(), StudioError> {
    sqlx::query(
        "DELETE FROM uploads WHERE hash = $1 AND NOT EXISTS (SELECT 1 FROM upload_owners WHERE hash = $1)",
    )
    .bind(hash)
    .execute(&mut **change)
    .await
    .map_err(storage)?;
    Ok(())
}

async fn take_out(
    change: &mut Transaction<'_, Any>,
    id: &str,
    owner: Option<&str>,
) -> Result<bool, StudioError> {
    sqlx::query("DELETE FROM images WHERE generation = $1")
        .bind(id)
        .execute(&mut **change)
        .await
        .map_err(storage)?;
    let inputs: Vec<(String,)> =
        sqlx::query_as("DELETE FROM generation_inputs WHERE generation = $1 RETURNING hash")
            .bind(id)
            .fetch_all(&mut **change)
            .await
            .map_err(storage)?;
    let gone: Vec<(Option<String>,)> =
        sqlx::query_as("DELETE FROM generations WHERE id = $1 RETURNING visitor")
            .bind(id)
            .fetch_all(&mut **change)
            .await
            .map_err(storage)?;
    delete_job(change, id).await?;
    let visitor = gone.first().and_then(|(visitor,)| visitor.clone());
    let owner = visitor.as_deref().or(owner);
    for (hash,) in inputs {
        // Another generation of the same owner may begin with it, too.
        sqlx::query(
            "DELETE FROM upload_owners WHERE hash = $1 AND owner = $2 AND NOT EXISTS \
             (SELECT 1 FROM generation_inputs JOIN generations ON generations.id = generation_inputs.generation \
              WHERE generation_inputs.hash = $1 AND generations.visitor = $2)",
        )
        .bind(&hash)
        .bind(owner)
        .execute(&mut **change)
        .await
        .map_err(storage)?;
        // One that never had an owner stays as long as anything names it.
        let (named,): (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM generation_inputs JOIN generations \
             ON generations.id = generation_inputs.generation \
             WHERE generation_inputs.hash = $1 AND (generations.visitor IS NULL OR generations.visitor = $2)",
        )
        .bind(&hash)
        .bind(owner)
        .fetch_one(&mut **change)
        .await
        .map_err(storage)?;
        if named == 0 {
            drop_ownerless(change, &hash).await?;
        }
    }
    Ok(!gone.is_empty())
}
